#!/usr/bin/env bash
# A small U-Net on ellipses made of BCCD's boxes: trained, searched to half its MACs, fine-tuned.
#   DATA=/folder/of/BCCD/with/JPEGImages experiments/segmentation/run.sh
# Killed runs go on where they were; finished ones are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
runs=${RUNS:-runs}/segmentation
masks=${MASKS:-$runs/masks}
common="model=experiments.segmentation.network.small_unet dataset=segmentation_folder dataset.path=$masks"
common="$common dataset.image_size=[96,128] task=segmentation training.epochs=12 training.batch_size=8 training.lr=0.05"
weights=$runs/dense/model.safetensors

[ -d "$masks" ] || "$python" -m experiments.segmentation.make_masks --boxes "$DATA" --out "$masks"
trained "$runs/dense" $common
for agent in uniform price ddpg; do
  once "$runs/searched-$agent-seed0" amc.search $common model.checkpoint="$weights" agent=$agent episodes=40
done
once "$runs/finetuned-ddpg-seed0" amc.finetune plan="$runs/searched-ddpg-seed0" seed=0 epochs=5 lr_scale=0.5 \
  recovery=least_squares trust=experiments.segmentation.network.small_unet
"$python" -m experiments.common.tasks experiments/segmentation "$runs"
"$python" -m experiments.segmentation.masks --masks "$masks" --runs "$runs"
