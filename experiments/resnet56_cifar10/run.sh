#!/usr/bin/env bash
# ResNet-56 / CIFAR-10 at half the MACs: uniform, random and DDPG, 400 episodes each, three seeds.
#   DATA=/folder/with/train/and/test CHECKPOINT=/file/resnet56-4bfd9763.th experiments/resnet56_cifar10/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
experiments/common/compare.sh resnet56_cifar10 model=resnet56 dataset=cifar10 dataset.root="$DATA" \
  model.checkpoint="$CHECKPOINT"
