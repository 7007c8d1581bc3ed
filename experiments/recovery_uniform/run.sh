#!/usr/bin/env bash
# What each recovery gives back: ResNet-56 / CIFAR-10, half the MACs, every group alike, nothing trained.
#   DATA=/folder/with/train/and/test CHECKPOINT=/file/resnet56-4bfd9763.th experiments/recovery_uniform/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
runs=${RUNS:-runs}/recovery_uniform
for recovery in none bn least_squares sequential; do
  once "$runs/$recovery" amc.search model=resnet56 dataset=cifar10 dataset.root="$DATA" model.checkpoint="$CHECKPOINT" \
    agent=uniform budget.rule=clip episodes=1 recovery="$recovery" evaluate.calibration_images=2048
done
"$python" -m experiments.common.searches experiments/recovery_uniform "$runs" recovery
