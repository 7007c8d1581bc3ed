#!/usr/bin/env bash
# ResNet-56 / CIFAR-10 at half the MACs: uniform, random and DDPG, 400 episodes each, three seeds.
#   DATA=/folder/with/train/and/test CHECKPOINT=/file/resnet56-4bfd9763.th experiments/resnet56_cifar10/run.sh
# Killed runs go on where they were; finished ones are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${RUNS:-runs/resnet56_cifar10}
python=${PYTHON:-.venv/bin/python}
for seed in ${SEEDS:-0 1 2}; do
  for agent in ${AGENTS:-uniform random ddpg}; do
    folder=$runs/$agent-seed$seed
    if [ -f "$folder/summary.json" ]; then
      continue
    elif [ -f "$folder/config.json" ]; then
      "$python" -m amc.search resume="$folder"
    else
      "$python" -m amc.search model=resnet56 dataset=cifar10 dataset.root="$DATA" model.checkpoint="$CHECKPOINT" \
        agent="$agent" seed="$seed" episodes="${EPISODES:-400}" hydra.run.dir="$folder"
    fi
  done
done
"$python" experiments/collect.py experiments/resnet56_cifar10 "$runs"
