#!/usr/bin/env bash
# What a policy learned on one network is worth on another: without search, and as the start of a search.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/both/.th/files experiments/transfer/run.sh
# SOURCES, TARGETS, KEEPS, SEEDS and EVALUATIONS (ascending; the last is the sources' own search too) choose what runs;
# the source "several" is one policy for resnet20, vgg16_cifar and mobilenet_v1. ARGS are further overrides of all runs.
# Killed runs go on where they were; finished ones are left alone; partial results are collected at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${RUNS:-runs}/transfer
python=${PYTHON:-.venv/bin/python}
sources=${SOURCES:-resnet20 resnet56 vgg16_cifar mobilenet_v1 resnet50 several}
targets=${TARGETS:-resnet20 resnet56 vgg16_cifar mobilenet_v1 resnet50}
evaluations=${EVALUATIONS:-25 50 100 400}
most=${evaluations##* }
several="resnet20 vgg16_cifar mobilenet_v1"

images() { # NETWORK: the data set that it is for
  case $1 in
    resnet50) echo "dataset=digits" ;;
    *) echo "dataset=cifar10 dataset.root=$DATA" ;;
  esac
}

weights() { # NETWORK: its checkpoint; those that nobody published are trained once
  case $1 in
    resnet20) echo "$CHECKPOINTS/resnet20-12fca82f.th" ;;
    resnet56) echo "$CHECKPOINTS/resnet56-4bfd9763.th" ;;
    *) echo "$runs/dense/$1/model.safetensors" ;;
  esac
}

dense() { # NETWORK: trains it if need be
  [ ! -f "$(weights "$1")" ] || return 0
  local epochs=
  [ "$1" = resnet50 ] || epochs=training.epochs=${EPOCHS:-15}
  # shellcheck disable=SC2046
  "$python" -m amc.train model="$1" $(images "$1") $epochs hydra.run.dir="$runs/dense/$1"
}

network() { # NETWORK: its overrides
  if [ "$1" = several ]; then
    local models= files=
    for part in $several; do
      models+=${models:+,}$part
      files+=${files:+,}$(weights "$part")
    done
    echo "model=[$models] checkpoints=[$files] $(images resnet20)"
  else
    echo "model=$1 model.checkpoint=$(weights "$1") $(images "$1")"
  fi
}

once() { # FOLDER MODULE OVERRIDES...: starts the run, or goes on with it
  local folder=$1 module=$2
  shift 2
  [ ! -f "$folder/summary.json" ] || return 0
  if [ "$module" = amc.search ] && [ -f "$folder/config.json" ]; then
    "$python" -m amc.search resume="$folder"
  else
    [ "$module" != amc.transfer ] || rm -f "$folder/config.json" "$folder/plan.json" # it is done again in seconds
    "$python" -m "$module" "$@" ${ARGS:-} hydra.run.dir="$folder"
  fi
}

scratch() { # FOLDER NETWORK EVALUATIONS OVERRIDES...: a search that knows nothing; a quarter of it is warm-up
  local folder=$1 net=$2 count=$3
  shift 3
  # shellcheck disable=SC2046
  once "$folder/scratch-$count" amc.search $(network "$net") observation=portable agent.warmup_episodes=$((count / 4)) \
    episodes="$count" "$@"
}

warm() { # FOLDER OVERRIDES...: one search, stopped after each number of evaluations to be reported on
  local folder=$1
  shift
  for count in $evaluations; do
    [ ! -f "$folder/summary-$count.json" ] || continue
    if [ -f "$folder/config.json" ]; then
      "$python" -m amc.search resume="$folder" episodes="$count"
    else
      "$python" -m amc.search "$@" episodes="$count" ${ARGS:-} hydra.run.dir="$folder"
    fi
    cp "$folder/summary.json" "$folder/summary-$count.json"
  done
}

for net in $(printf '%s\n' $sources $targets | sort -u); do
  [ "$net" = several ] && parts=$several || parts=$net
  for part in $parts; do dense "$part"; done
done

for keep in ${KEEPS:-0.5 0.3}; do
  for seed in ${SEEDS:-0 1 2}; do
    cell=$runs/keep-$keep/seed$seed
    common="budget.rule=project budget.keep=$keep seed=$seed"
    for source in $sources; do
      # shellcheck disable=SC2086
      scratch "$cell/$source" "$source" "$most" $common
    done
    for target in $targets; do
      for count in $evaluations; do
        # shellcheck disable=SC2086
        scratch "$cell/$target" "$target" "$count" $common
      done
      for source in $sources; do
        [ "$source" != "$target" ] || continue
        if [ "$source" = several ] && [[ " $several " == *" $target "* ]]; then continue; fi
        policy=$cell/$source/scratch-$most
        # shellcheck disable=SC2046,SC2086
        once "$cell/$target/from-$source/zero-shot" amc.transfer $(network "$target") policy="$policy" $common
        # shellcheck disable=SC2046,SC2086
        warm "$cell/$target/from-$source/warm" $(network "$target") policy="$policy" $common
      done
    done
  done
done
"$python" experiments/transfer/collect.py "$runs"
