#!/usr/bin/env bash
# Half the MACs of two CIFAR-10 networks: search (sequential recovery inside), then fine-tune the plan it found.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/both/.th/files experiments/half_macs/run.sh
# NETWORKS, SEEDS and EPOCHS choose what runs. Killed runs go on where they were; finished ones are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
runs=${RUNS:-runs}/half_macs
common="dataset=cifar10 dataset.root=$DATA"

for network in ${NETWORKS:-resnet20 resnet56}; do
  case $network in
    resnet20) images=512 epochs=12 lr_scale=0.3 ;;
    resnet56) images=256 epochs=8 lr_scale=0.1 ;;
  esac
  checkpoint=$(published "$network")
  once "$runs/$network/search" amc.search model="$network" $common model.checkpoint="$checkpoint" \
    importance=reconstruction recovery=sequential evaluate.calibration_images=$images evaluate.precision=bf16 \
    finalists=10 finals_recovery=sequential agent=amc budget.rule=clip
  for seed in ${SEEDS:-0 1 2}; do
    once "$runs/$network/finetuned-seed$seed" amc.finetune plan="$runs/$network/search" seed=$seed \
      epochs="${EPOCHS:-$epochs}" lr_scale=$lr_scale finetuning.weight_decay=1e-4
  done
done
"$python" -m experiments.common.finetunings experiments/half_macs "$runs"
