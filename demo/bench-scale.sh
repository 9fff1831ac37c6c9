#!/usr/bin/env bash
# bench-scale.sh: a store of a million runs: how fast `ingest` takes outcome files, and what the other verbs cost on it.
# `make bench-scale` builds what it needs and calls it. `sacct` is a stand-in that knows every job; the rest is real.
#   SCALE_RUNS   runs in the end (default 1000000)      SCALE_FOLDER   where (default: a temporary folder, deleted at the end)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${TARGET:-$ROOT/target}
RUNS=${SCALE_RUNS:-1000000}
# Four runs in a file; as many files as are taken between two looks at the clock.
JOBS=$((RUNS / 4))
ROUND=25000
omnipilot=${OMNIPILOT_BIN:-$TARGET/release/omnipilot}
if [ -n "${SCALE_FOLDER:-}" ]; then
  FOLDER=$SCALE_FOLDER
  mkdir -p "$FOLDER"
else
  FOLDER=$(mktemp -d)
  trap 'rm -rf -- "$FOLDER"' EXIT
fi
trap 'exit 130' INT TERM

export PATH=$FOLDER/bin:$PATH OMNIPILOT_CONFIG=$FOLDER/omnipilot.toml
measure() { # NAME VERB...
  local name=$1
  shift
  "$TARGET/release/bench" measure "$name" "$omnipilot" "$@"
}

"$TARGET/release/scale" site "$FOLDER"
"$omnipilot" init >/dev/null 2>&1
echo "$(date +%F), $(nproc) processors ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)), load $(cut -d' ' -f1-3 /proc/loadavg) before"
for ((first = 0; first < JOBS; first += ROUND)); do
  files=$((JOBS - first < ROUND ? JOBS - first : ROUND))
  "$TARGET/release/scale" fill "$FOLDER" "$first" "$files"
  sync
  measure "ingest of $((4 * files)) runs in $files files, to $((4 * (first + files)))" ingest
done
echo "size of the store: $(($(stat -c %s "$FOLDER/store.db") / 1000000)) MB; load $(cut -d' ' -f1-3 /proc/loadavg)"
measure "observe" observe
measure "ingest with nothing to take" ingest
measure "train (select, fit, calibrate, evaluate, gate, publish)" train
measure "advise" advise --llm-model=meta-llama/Llama-3.1-70B-Instruct --llm-isl=1024 --llm-osl=256 --llm-concurrency=32
measure "report" report --output "$FOLDER/report.html"
measure "store backup" store backup "$FOLDER/copy.db"
measure "probe plan" probe plan
measure "export metrics" export metrics
"$TARGET/release/scale" fill "$FOLDER" "$JOBS" 1
measure "ingest of one file, drift looked at" ingest
echo "snapshot: $(($(stat -c %s "$FOLDER/m.snapshot") / 1000)) kB; load $(cut -d' ' -f1-3 /proc/loadavg) after"
