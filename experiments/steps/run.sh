#!/usr/bin/env bash
# One big step against several at equal epochs: ResNet-20 / CIFAR-10, the plan of experiments/half_macs.
#   DATA=… CHECKPOINTS=… experiments/steps/run.sh      (after experiments/half_macs/run.sh with NETWORKS=resnet20)
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
runs=${RUNS:-runs}
plan=$runs/half_macs/resnet20/search

run() { # NAME OVERRIDES...
  local folder=$runs/steps/$1
  shift
  once "$folder" amc.finetune plan="$plan" epochs="${EPOCHS:-12}" lr_scale=0.3 finetuning.weight_decay=1e-4 \
    recovery.positions=10 "$@"
}

for seed in ${SEEDS:-0}; do
  run "one step-seed$seed" seed=$seed
  run "three steps-seed$seed" seed=$seed schedule=iterative stages=[0.8,0.65]
  run "three steps with group lasso-seed$seed" seed=$seed schedule=iterative stages=[0.8,0.65] regulariser=group_lasso
done
"$python" -m experiments.steps.figure "$runs/steps"
