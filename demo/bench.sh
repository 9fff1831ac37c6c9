#!/usr/bin/env bash
# bench.sh: how long things take on this machine, on a real Slurm. `make bench` builds what it needs and calls it.
#
# Commands are timed in rounds, one of each kind a round, so that whatever else the machine does hits all kinds alike. Given
# are the median and, in brackets, the quarters below and above it; "added" is the median of the differences within a round.
#   BENCH_ROUNDS   rounds (default 40, at least 30 for figures that are to be written down)
set -euo pipefail
# shellcheck source=demo/stage.sh
. "$(cd "$(dirname "$0")" && pwd)/stage.sh"

ROUNDS=${BENCH_ROUNDS:-40}
MODEL=${BENCH_MODEL:-meta-llama/Llama-3.1-70B-Instruct}
LOAD=(--llm-model="$MODEL" --llm-isl=1000 --llm-osl=1000 --llm-concurrency=64)

# Runs a command silently and appends its milliseconds to a file.
timed() { # FILE COMMAND...
  local file=$1 from to
  shift
  from=${EPOCHREALTIME/./}
  "$@" >/dev/null 2>"$PREFIX/bench/stderr" </dev/null || { cat "$PREFIX/bench/stderr" >&2; echo "bench: failed: $*" >&2; exit 1; }
  to=${EPOCHREALTIME/./}
  awk -v us=$((to - from)) 'BEGIN { printf "%.3f\n", us / 1000 }' >>"$PREFIX/bench/$file"
}

# Median and quarters of a column of numbers.
spread() {
  sort -g | awk '{ x[NR] = $1 } function at(p) { i = 1 + p * (NR - 1); j = int(i); return x[j] + (i - j) * (x[j < NR ? j + 1 : j] - x[j]) }
    END { printf "%8.2f ms  [%.2f to %.2f]  n = %d\n", at(0.5), at(0.25), at(0.75), NR }'
}
report() { printf '%-46s %s\n' "$1" "$(spread <"$PREFIX/bench/$2")"; }
added() { printf '%-46s %s\n' "$1" "$(paste "$PREFIX/bench/$2" "$PREFIX/bench/$3" | awk '{ print $1 - $2 }' | spread)"; }

# Clients that read another plugstack.conf, without the plugin; the controller is the same.
make_bare_configuration() {
  mkdir -p "$PREFIX/bare" "$PREFIX/bench"
  : >"$PREFIX/bare/plugstack.conf"
  sed "s|^PlugStackConfig=.*|PlugStackConfig=$PREFIX/bare/plugstack.conf|" "$SLURM_CONF" >"$PREFIX/bare/slurm.conf"
  if [ -e "$PREFIX/etc/cgroup.conf" ]; then cp "$PREFIX/etc/cgroup.conf" "$PREFIX/bare/"; fi
  cp "$PREFIX/etc/gres.conf" "$PREFIX/bare/"
}
bare() { env SLURM_CONF="$PREFIX/bare/slurm.conf" "$@"; }

time_submissions() {
  local round job=(--hold --output=/dev/null --gres=gpu:a100:8 "$PREFIX/bench/job.sh")
  printf '#!/bin/sh\ntrue\n' >"$PREFIX/bench/job.sh"
  for ((round = 0; round < ROUNDS; round++)); do
    timed bare bare sbatch "${job[@]}"
    timed untagged env sbatch "${job[@]}"
    timed tagged env sbatch "${LOAD[@]}" "${job[@]}"
  done
  report "sbatch without the plugin" bare
  report "sbatch with the plugin, untagged" untagged
  report "sbatch with the plugin, tagged" tagged
  added "  added to an untagged sbatch" untagged bare
  added "  added to a tagged sbatch" tagged bare
}

time_advice() {
  local round
  for ((round = 0; round < ROUNDS; round++)); do
    timed advise omnipilot advise "${LOAD[@]}"
    timed start omnipilot --version
  done
  added "advise over all candidates (process start taken off)" advise start
}

time_training() {
  local round
  for ((round = 0; round < 3; round++)); do timed train omnipilot train; done
  report "train on the published figures" train
}

main() {
  built
  choose_folder bench-run
  trap '"$ROOT/tests/cluster/down.sh" --quiet "$PREFIX"' EXIT
  trap 'exit 130' INT TERM
  start_cluster
  install_product
  make_bare_configuration
  omnipilot init >/dev/null
  omnipilot observe >/dev/null
  time_training
  plugstack_line >"$PREFIX/plugstack.d/omnipilot.conf"
  printf '%-46s %8d bytes\n' "snapshot" "$(stat -Lc %s "$PREFIX/omnipilot/published.snapshot")"
  time_advice
  time_submissions
  printf '\n%s, %s processors (%s), Slurm %s, load %s\n' "$(date +%F)" "$(nproc)" \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(sinfo -V | cut -d' ' -f2)" "$(cut -d' ' -f1 /proc/loadavg)"
}
main
