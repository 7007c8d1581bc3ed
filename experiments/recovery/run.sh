#!/usr/bin/env bash
# Recovery by importance (ResNet-56), and the search's reward against the fine-tuned accuracy (ResNet-20). CIFAR-10.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/both/.th/files experiments/recovery/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
resnet56=$(published resnet56) resnet20=$(published resnet20)
"$python" -m experiments.recovery.recovery_by_importance --data "$DATA" --checkpoint "$resnet56"
"$python" -m experiments.recovery.reward_against_finetuned --data "$DATA" --checkpoint "$resnet20"
