#!/usr/bin/env bash
# Recovery by importance (ResNet-56), and the search's reward against the fine-tuned accuracy (ResNet-20). CIFAR-10.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/both/.th/files experiments/recovery/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
"$python" experiments/recovery/recovery_by_importance.py --data "$DATA" --checkpoint "$CHECKPOINTS/resnet56-4bfd9763.th"
"$python" experiments/recovery/reward_against_finetuned.py --data "$DATA" --checkpoint "$CHECKPOINTS/resnet20-12fca82f.th"
