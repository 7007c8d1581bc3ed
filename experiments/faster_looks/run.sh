#!/usr/bin/env bash
# How many validation images does a plan need? ResNet-20 / CIFAR-10.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/the/.th/file experiments/faster_looks/run.sh
# PLANS (150) says how many; the answers of each on 5,000 images are kept in RUNS (runs/faster_looks).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
answers=${RUNS:-runs}/faster_looks
export PYTHONPATH=experiments/recovery:. # common.py: the network, plans of given MACs
"$python" experiments/faster_looks/answer.py --data "$DATA" --checkpoint "$CHECKPOINTS/resnet20-12fca82f.th" \
  --plans "${PLANS:-150}" --out "$answers"
"$python" experiments/faster_looks/conclude.py "$answers"
