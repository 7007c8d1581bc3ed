#!/usr/bin/env bash
# Plain-20 / CIFAR-10 at half the MACs: AMC's four ways to choose keep ratios, each fine-tuned alike.
#   DATA=/folder/with/train/and/test experiments/plain20/run.sh
# EPISODES, EPOCHS, DENSE_EPOCHS and WAYS choose what runs. Killed runs go on where they were; finished ones are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
runs=${RUNS:-runs}/plain20
common="model=plain20 dataset=cifar10 dataset.root=$DATA"

dense=$runs/dense/model.safetensors
[ -f "$dense" ] || "$python" -m amc.train $common training.epochs="${DENSE_EPOCHS:-12}" hydra.run.dir="$runs/dense"
for way in ${WAYS:-deep shallow uniform ddpg}; do
  search="agent=$way episodes=1"
  [ "$way" != ddpg ] || search="agent=amc agent.warmup_episodes=50 episodes=${EPISODES:-200}"
  once "$runs/$way" amc.search $common model.checkpoint="$dense" $search \
    importance=reconstruction recovery=sequential budget.rule=project finalists=1 finals_recovery=sequential \
    evaluate.early_stop=false
  once "$runs/$way-finetuned" amc.finetune plan="$runs/$way" epochs="${EPOCHS:-4}" lr_scale=0.3 finetuning.weight_decay=1e-4 \
    distill.weight=0 # the dense network is trained too shortly to be a teacher
done
"$python" -m experiments.plain20.collect "$runs"
