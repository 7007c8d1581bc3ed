#!/usr/bin/env bash
# Half the MACs of a small vision transformer on CIFAR-10: rules, rankings, searches and a policy of ResNet-20; four of
# the plans fine-tuned.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/resnet20's/.th/file experiments/vision_transformer/run.sh
# AGENTS, TUNED, EPISODES, EPOCHS, IMAGES (of a fine-tuning's epoch) and SEED choose what runs. Killed runs go
# on where they were (the training of the uncut network and the transfers begin again); finished ones are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
runs=${RUNS:-runs}/vision_transformer
seed=${SEED:-0}
episodes=${EPISODES:-60}
target=experiments.vision_transformer.network.vit
TRUST=$target
data="dataset=cifar10 dataset.root=$DATA"
weights=$runs/dense/model.safetensors
vit="model=$target model.checkpoint=$weights $data"
searched="budget.keep=0.5 seed=$seed importance=l1 recovery=least_squares evaluate.images=1000"

# The uncut network.
trained "$runs/dense" model=$target $data training.epochs="${TRAINING_EPOCHS:-4}" training.lr=0.05 \
  training.batch_size=32 training.weight_decay=1e-4 training.augment=none

# Rules and searches.
for agent in ${AGENTS:-uniform price cma_es ddpg}; do
  once "$runs/plans/$agent" amc.search $vit $searched agent="$agent" episodes="$episodes"
done

# Uniform in heads and neurons alone: what is the stream worth?
once "$runs/plans/uniform-stream" amc.search $vit $searched agent=uniform prune_residual=false

# Rankings: each gives a plan, which is scored like the others.
for way in isomorphic global; do
  [ -f "$runs/plans/$way/summary.json" ] || once "$runs/plans/$way" amc.search $vit $searched agent=uniform \
    constraints="$("$python" -m experiments.vision_transformer.ranking $way "$weights" 0.5)"
done

# A policy of ResNet-20, and its rule alone.
once "$runs/resnet20" amc.search model=resnet20 $data model.checkpoint="$(published resnet20)" observation=price \
  budget.rule=project budget.keep=0.5 seed="$seed" episodes="$episodes" evaluate.images=500 evaluate.batch_size=50 \
  evaluate.early_stop=true evaluate.early_stop_min_images=150 finalists=0
afresh "$runs/plans/policy" amc.transfer policy="$runs/resnet20" $vit budget.keep=0.5 seed="$seed"
[ -f "$runs/plans/price-strength/summary.json" ] ||
  "$python" -m experiments.vision_transformer.price "$DATA" "$weights" "$runs/plans/price-strength"

for plan in ${TUNED:-uniform isomorphic price ddpg}; do
  once "$runs/finetuned/$plan" amc.finetune plan="$runs/plans/$plan" trust=$target epochs="${EPOCHS:-2}" lr_scale=0.1 \
    seed="$seed" dataset.val_from=train dataset.train_images="${IMAGES:-10000}" training.lr=0.05 training.batch_size=32 \
    training.weight_decay=1e-4 training.augment=none
done
"$python" -m experiments.vision_transformer.sequential "$DATA" "$weights" "$runs/plans"
"$python" -m experiments.vision_transformer.results "$runs"
