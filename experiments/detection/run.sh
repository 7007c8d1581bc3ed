#!/usr/bin/env bash
# A detector on BCCD: trained, searched to half its MACs, fine-tuned; and the dense one trained for as many more epochs.
#   DATA=/folder/of/BCCD/with/JPEGImages experiments/detection/run.sh
# SEEDS (of fine-tuning) chooses what runs. Killed runs go on where they were; finished ones are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
runs=${RUNS:-runs}/detection
network=experiments.detection.network.small_retinanet
common="model=$network dataset=voc dataset.path=$DATA dataset.image_size=[240,320] task=detection"
common="$common training.batch_size=8 training.lr=0.007"
weights=$runs/dense/model.safetensors

trained "$runs/dense" $common training.epochs=30
for agent in uniform price ddpg; do
  case $agent in
    ddpg) more="prices=true episodes=40" ;; # its warm-up plays the plan of price, too
    *) more="" ;;
  esac
  once "$runs/searched-$agent-seed0" amc.search $common model.checkpoint="$weights" agent=$agent $more
done
for seed in ${SEEDS:-0}; do
  tuning="seed=$seed distill.weight=0 recovery=least_squares trust=$network"
  once "$runs/finetuned-ddpg-gently-seed$seed" amc.finetune plan="$runs/searched-ddpg-seed0" $tuning \
    epochs=10 lr_scale=0.5
  for agent in ddpg uniform; do
    once "$runs/finetuned-$agent-seed$seed" amc.finetune plan="$runs/searched-$agent-seed0" $tuning epochs=16 lr_scale=1
  done
  trained "$runs/longer-seed$seed" $common model.checkpoint="$weights" seed="$seed" \
    training.epochs=16 training.schedule=cosine
done
"$python" -m experiments.common.tasks experiments/detection "$runs"
"$python" -m experiments.detection.boxes --data "$DATA" --runs "$runs"
