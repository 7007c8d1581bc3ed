#!/usr/bin/env bash
# Every way to choose keep ratios, under one budget, with one evaluator and equal numbers of evaluations.
#   DATA=/folder/with/train/and/test CHECKPOINTS=/folder/with/both/.th/files experiments/does_rl_help/run.sh
# TASKS (network-budget-evaluations), AGENTS and SEEDS choose what runs; ARGS are further overrides. Killed runs go on
# where they were; finished ones are left alone; partial results are drawn at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
. experiments/common/once.sh
runs=${RUNS:-runs}/does_rl_help
tasks=${TASKS:-resnet20-0.5-400 resnet20-0.3-400 resnet20-0.5-100 resnet50-0.5-400 resnet50-0.3-400}
agents=${AGENTS:-uniform response price shallow deep threshold size_aware random random-clip annealing evolution tpe cma_es netadapt \
  ddpg ddpg-clip amc amc-clip td3 sac ppo}

network() { # recipe and weights
  case $1 in
    resnet20 | resnet56)
      local file
      file=$(published "$1") && echo "experiment=$1_cifar10 dataset.root=$DATA model.checkpoint=$file"
      ;;
    mobilenet_v1 | vgg16) echo "experiment=$1_cifar10 dataset.root=$DATA" ;;
    resnet50) echo "experiment=resnet50_digits" ;;
  esac
}

evaluator() { # AGENT: NetAdapt plays plans of any size, of which no early stop can tell the worse
  echo "evaluate.images=500 evaluate.batch_size=50 finalists=0"
  [ "$1" = netadapt ] || echo "evaluate.early_stop=true evaluate.early_stop_min_images=150"
}

agent() { # NAME EVALUATIONS: an agent's overrides; with 100 evaluations those that warm up at random do so for 25
  local name=${1%-clip} rule=project
  [ "$name" = "$1" ] || rule=clip
  echo "agent=${name%%-*} budget.rule=$rule"
  case $name in
    amc-begin) echo "agent.warmup=rules agent.warmup_episodes=10 agent.actor_start=uniform" ;; # of ddpg, this alone
    amc-sigma) echo "agent.sigma=0.2 agent.sigma_decay=0.99" ;;
    amc-best) echo "agent.best_share=0.5" ;;
    ddpg-slow) echo "agent.sigma_decay=0.995" ;; # explores twice as long
    ddpg-response) echo "responses=true" ;; # their rule's plan in the warm-up
    ddpg-prior) echo "prior=true" ;;        # sensitivity curves: to be seen, and their rules' plans in the warm-up
    ddpg-best) echo "agent.actor_start=best" ;;
    cma_es-response) echo "agent.start=response" ;;
  esac
  case $name in
    amc | amc-sigma | amc-best | td3 | sac) [ "$2" -ge 400 ] || echo "agent.warmup_episodes=25" ;;
  esac
}

for task in $tasks; do
  IFS=- read -r net keep evaluations <<<"$task"
  recipe=$(network "$net")
  for seed in ${SEEDS:-0 1 2 3 4}; do
    for name in $agents; do
      # shellcheck disable=SC2046
      once "$runs/$task/$name-seed$seed" amc.search $recipe $(evaluator "$name") $(agent "$name" "$evaluations") \
        budget.keep="$keep" seed="$seed" episodes="$evaluations" ${ARGS:-}
    done
  done
done
"$python" -m experiments.does_rl_help.analyse "$runs"
