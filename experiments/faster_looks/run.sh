#!/usr/bin/env bash
# How many validation images does a plan need? ResNet-20 / CIFAR-10.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/the/.th/file experiments/faster_looks/run.sh
# PLANS (150) says how many; the answers of each on 5,000 images are kept in RUNS (runs/faster_looks).
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
checkpoint=$(published resnet20)
answers=${RUNS:-runs}/faster_looks
"$python" -m experiments.faster_looks.answer --data "$DATA" --checkpoint "$checkpoint" \
  --plans "${PLANS:-150}" --out "$answers"
"$python" -m experiments.faster_looks.conclude "$answers"
