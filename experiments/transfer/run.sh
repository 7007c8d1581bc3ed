#!/usr/bin/env bash
# What a policy learned on one network is worth on another: without search, and as the start of a search.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/both/.th/files experiments/transfer/run.sh
# SOURCES, TARGETS, KEEPS, SEEDS choose what runs, EPISODES and WARM the evaluations of a search from scratch (the
# sources' too) and of one that starts from a policy, OBSERVATION what policies see (price, response or portable); the
# source "several" is one policy for resnet20, vgg16_cifar and mobilenet_v1; resnet50 is on digits, resnet50_cifar10 has
# the stem for large images. WAYS leaves some of zero-shot, unlabelled, five-looks and warm out. ARGS are further
# overrides of all searches. With two budgets, policies are tried at the other one, too.
# Killed runs go on where they were; finished ones are left alone; partial results are collected at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
observation=${OBSERVATION:-price}
runs=${RUNS:-runs}/transfer
searches=$runs/$observation
sources=${SOURCES:-resnet20 resnet56 plain20 vgg16_cifar mobilenet_v1 resnet50_cifar10 resnet50 several}
targets=${TARGETS:-resnet20 resnet56 plain20 vgg16_cifar mobilenet_v1 resnet50_cifar10 resnet50}
ways=${WAYS:-zero-shot unlabelled five-looks warm}
keeps=${KEEPS:-0.5 0.3}
episodes=${EPISODES:-400}
warm=${WARM:-100}
looks="evaluate.images=500 evaluate.batch_size=50 evaluate.early_stop=true evaluate.early_stop_min_images=150 finalists=0"
several="resnet20 vgg16_cifar mobilenet_v1"

given() { # NETWORK: its model and its data set
  case $1 in
    resnet50) echo "model=resnet50 dataset=digits" ;;
    resnet50_cifar10) echo "model=resnet50 model.stem=imagenet dataset=cifar10 dataset.root=$DATA" ;;
    *) echo "model=$1 dataset=cifar10 dataset.root=$DATA" ;;
  esac
}

weights() { # NETWORK: its checkpoint; those that nobody published are trained once
  case $1 in
    resnet20 | resnet56) published "$1" ;;
    *) echo "$runs/dense/$1/model.safetensors" ;;
  esac
}

dense() { # NETWORK: trains it if need be
  [ ! -f "$(weights "$1")" ] || return 0
  local recipe
  case $1 in
    resnet50) recipe= ;;
    resnet50_cifar10) recipe="training.epochs=12 training.batch_size=256" ;;
    plain20) recipe="training.epochs=12" ;;
    *) recipe="training.epochs=15" ;;
  esac
  # shellcheck disable=SC2046
  "$python" -m amc.train $(given "$1") $recipe hydra.run.dir="$runs/dense/$1"
}

network() { # NETWORK: its overrides
  if [ "$1" = several ]; then
    local models= files=
    for part in $several; do
      models+=${models:+,}$part
      files+=${files:+,}$(weights "$part")
    done
    echo "model=[$models] checkpoints=[$files] dataset=cifar10 dataset.root=$DATA"
  else
    echo "$(given "$1") model.checkpoint=$(weights "$1")"
  fi
}

for net in $(printf '%s\n' $sources $targets | sort -u); do
  [ "$net" = several ] && parts=$several || parts=$net
  for part in $parts; do dense "$part"; done
done

for keep in $keeps; do
  for seed in ${SEEDS:-0 1 2}; do
    for net in $(printf '%s\n' $sources $targets | sort -u); do
      # shellcheck disable=SC2046
      once "$searches/keep-$keep/seed$seed/$net/scratch" amc.search $(network "$net") observation="$observation" \
        budget.rule=project budget.keep="$keep" seed="$seed" episodes="$episodes" $looks ${ARGS:-}
    done
  done
done
for keep in $keeps; do
  for seed in ${SEEDS:-0 1 2}; do
    for target in $targets; do
      for source in $sources; do
        if [[ $source = several && " $several " == *" $target "* ]]; then continue; fi
        for learned in $keeps; do # the budget that the policy was trained for
          [ "$source/$learned" != "$target/$keep" ] || continue
          from=$source
          [ "$learned" = "$keep" ] || from=$source@$learned
          folder=$searches/keep-$keep/seed$seed/$target/from-$from
          common="policy=$searches/keep-$learned/seed$seed/$source/scratch budget.rule=project budget.keep=$keep seed=$seed"
          for way in $ways; do
            further=
            case $way in
              zero-shot) set -- afresh amc.transfer "strengths=[1]" ;;
              unlabelled) set -- afresh amc.transfer strength_by=divergence ;;
              five-looks) set -- afresh amc.transfer strength_by=accuracy ;; # a single walk at full strength is among them
              warm) set -- once amc.search episodes="$warm" && further="$looks ${ARGS:-}" ;;
            esac
            # shellcheck disable=SC2046,SC2086
            "$1" "$folder/$way" "${@:2}" $(network "$target") $common $further
          done
        done
      done
    done
  done
done
"$python" -m experiments.transfer.collect "$runs"
