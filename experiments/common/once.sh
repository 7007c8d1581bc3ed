# Sourced by experiments, which set $python. once FOLDER MODULE OVERRIDES...: starts a run, or goes on with it; a finished
# one is left alone.
once() {
  local folder=$1 module=$2
  shift 2
  if [ -f "$folder/summary.json" ]; then return; fi
  if [ -f "$folder/config.json" ]; then "$python" -m "$module" resume="$folder"
  else "$python" -m "$module" "$@" hydra.run.dir="$folder"; fi
}
