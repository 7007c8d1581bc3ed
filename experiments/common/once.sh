# Sourced by the studies' run.sh, from the checkout's folder.
python=${PYTHON:-.venv/bin/python}

# once FOLDER MODULE OVERRIDES...: starts a run, or goes on with it; a finished one is left alone. TRUST names a network
# of the study's own: its code is run again only if that is said again.
once() {
  local folder=$1 module=$2
  shift 2
  if [ -f "$folder/summary.json" ]; then return; fi
  if [ -f "$folder/config.json" ]; then "$python" -m "$module" resume="$folder" ${TRUST:+trust="$TRUST"}
  else "$python" -m "$module" "$@" hydra.run.dir="$folder"; fi
}

# afresh FOLDER MODULE OVERRIDES...: the same for commands of seconds that can't go on with a run: they start again.
afresh() {
  local folder=$1 module=$2
  shift 2
  if [ -f "$folder/summary.json" ]; then return; fi
  rm -f "$folder/config.json" "$folder/plan.json"
  "$python" -m "$module" "$@" hydra.run.dir="$folder"
}

# published NETWORK: the file in CHECKPOINTS with the CIFAR-10 weights that others published.
published() {
  case $1 in
    resnet20) echo "$CHECKPOINTS/resnet20-12fca82f.th" ;;
    resnet56) echo "$CHECKPOINTS/resnet56-4bfd9763.th" ;;
  esac
}

# trained FOLDER OVERRIDES...: a training is started, in the place of a killed one; a finished one is left alone.
trained() {
  local folder=$1
  shift
  if [ -f "$folder/train.json" ]; then return; fi
  "$python" -m amc.train "$@" hydra.run.dir="$folder"
}
