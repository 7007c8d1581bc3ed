#!/usr/bin/env bash
# How many validation images does a search need? DDPG on ResNet-20 / CIFAR-10 at half the MACs, each with as many plans
# as the same work allows.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/the/.th/file experiments/faster_looks/equal_work.sh
# SEEDS and LOOKS (images-stop or images-no, and after a colon the plans) choose what runs. Killed runs go on where they
# were; finished ones are left alone. "500-stop" has the settings of does_rl_help.
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
checkpoint=$(published resnet20)
runs=${RUNS:-runs}/faster_looks/equal_work
looks=${LOOKS:-500-stop:480 500-no:400 1000-stop:360 1000-no:240 2500-stop:260 5000-stop:190}

settings() { # IMAGES STOP
  echo "evaluate.images=$1 evaluate.batch_size=50 evaluate.early_stop_min_images=$([ "$1" = 500 ] && echo 150 || echo 250)"
  [ "$2" = stop ] && echo "evaluate.early_stop=true" || echo "evaluate.early_stop=false"
}

for seed in ${SEEDS:-0 1 2 3 4}; do
  for look in $looks; do
    IFS=-: read -r images stop plans <<<"$look"
    # shellcheck disable=SC2046
    once "$runs/$images-$stop-seed$seed" amc.search experiment=resnet20_cifar10 dataset.root="$DATA" \
      model.checkpoint="$checkpoint" budget.keep=0.5 budget.rule=project finalists=0 \
      $(settings "$images" "$stop") seed="$seed" episodes="$plans"
  done
done
"$python" -m experiments.faster_looks.equal_work --data "$DATA" \
  --checkpoint "$checkpoint" "$runs"
