#!/usr/bin/env bash
# Compares agents on one network, as AMC has them and its budget: experiments/common/compare.sh NAME OVERRIDES...
# AGENTS, SEEDS and EPISODES choose what runs. Killed runs go on where they were; finished ones are left alone. The
# results go into experiments/NAME.
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
name=$1
shift
runs=${RUNS:-runs}/$name
for seed in ${SEEDS:-0 1 2}; do
  for agent in ${AGENTS:-uniform random amc}; do
    once "$runs/$agent-seed$seed" amc.search "$@" agent="$agent" budget.rule=clip finalists=0 seed="$seed" episodes="${EPISODES:-400}"
  done
done
"$python" -m experiments.common.searches "experiments/$name" "$runs"
