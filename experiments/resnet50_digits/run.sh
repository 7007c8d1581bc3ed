#!/usr/bin/env bash
# ResNet-50 / digits at half the MACs: uniform, random and DDPG, 400 episodes each, three seeds. Needs no download.
#   experiments/resnet50_digits/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
experiments/common/compare.sh resnet50_digits model=resnet50 dataset=digits
