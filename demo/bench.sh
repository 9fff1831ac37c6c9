#!/usr/bin/env bash
# bench.sh: how long things take on this machine, on a real Slurm. `make bench` builds what it needs and calls it.
#
# Commands are timed in rounds, one of each kind a round and another kind first each time, so that whatever else the machine does
# hits all kinds alike. Given are the median and the quarters below and above it; "added" is the median of the differences
# within a round, with the 95 % interval of that median (bootstrap).
#   BENCH_ROUNDS   rounds (default 60, at least 30 for figures that are to be written down)
#   BENCH_DATA     folder of runs-csv files for a second, larger store (default ../shared/data; skipped where it is not there)
#   BENCH_PART     "slurm" for the part about Slurm's commands alone, "sbatch" for sbatch alone (default "all")
#   BENCH_INIT     what `omnipilot init` is told, such as --figures-only
#   BENCH_EARLIER  folder with omnipilot, spank_omnipilot.so and omnipilot_advisor.so of another release, which is timed in the same rounds
set -euo pipefail
# shellcheck source=demo/stage.sh
. "$(cd "$(dirname "$0")" && pwd)/stage.sh"

ROUNDS=${BENCH_ROUNDS:-60}
DATA=${BENCH_DATA:-$ROOT/../shared/data}
MODEL=${BENCH_MODEL:-meta-llama/Llama-3.1-70B-Instruct}
LOAD=(llm-model="$MODEL" llm-isl=1000 llm-osl=1000 llm-concurrency=64)
JOBS=64
# What is submitted in each round: without a plugin, with one that does nothing, with this one without a tag and with one.
KINDS=(bare empty untagged tagged)

bench() { "${OMNIPILOT_BENCH:-$ROOT/target/release/bench}" "$@"; }
headline() { printf '\n%s\n' "$1"; }

# Runs a command silently and appends its milliseconds to a file.
timed() { # FILE COMMAND...
  local file=$1 from to
  shift
  from=${EPOCHREALTIME/./}
  quietly "$@"
  to=${EPOCHREALTIME/./}
  printf '%d.%03d\n' $(((to - from) / 1000)) $(((to - from) % 1000)) >>"$PREFIX/bench/$file"
}
quietly() { "$@" >/dev/null 2>"$PREFIX/bench/stderr" </dev/null || fail "$*"; }
fail() {
  cat "$PREFIX/bench/stderr" >&2
  echo "bench: failed: $1" >&2
  exit 1
}
report() { bench spread "${3:-ms}" "$1" "$PREFIX/bench/$2"; } # NAME FILE [UNIT]
added() { bench added "${4:-ms}" "  added to $1" "$PREFIX/bench/$2" "$PREFIX/bench/$3"; } # NAME FILE WITHOUT [UNIT]

# A folder of configuration for clients, with or without an entry among those that plugstack.conf includes, and with nothing else that
# would differ: what lies beside slurm.conf alone costs a command up to 0.1 ms. The controller is the same.
make_configuration() { # NAME [LINE]
  mkdir -p "$PREFIX/$1/plugstack.d" "$PREFIX/bench"
  [ -z "${2:-}" ] || echo "$2" >"$PREFIX/$1/plugstack.d/entry.conf"
  echo "include $PREFIX/$1/plugstack.d/*.conf" >"$PREFIX/$1/plugstack.conf"
  sed "s|^PlugStackConfig=.*|PlugStackConfig=$PREFIX/$1/plugstack.conf|" "$SLURM_CONF" >"$PREFIX/$1/slurm.conf"
  if [ -e "$PREFIX/etc/cgroup.conf" ]; then cp "$PREFIX/etc/cgroup.conf" "$PREFIX/$1/"; fi
  cp "$PREFIX/etc/gres.conf" "$PREFIX/$1/"
}
# A plugin that does nothing: what any costs.
make_empty_plugin() {
  local major minor micro
  IFS=. read -r major minor micro < <(sinfo -V | cut -d' ' -f2)
  printf 'const char plugin_name[] = "empty", plugin_type[] = "spank"; unsigned plugin_version = %d;\n%s\n' \
    $((10#$major << 16 | 10#$minor << 8 | 10#$micro)) 'int slurm_spank_init(void *s, int c, char **v) { return !s + c * !v; }' |
    cc -O2 -shared -fPIC -x c -o "$PREFIX/lib/empty.so" -
}

# Another release beside this one, with a store of its own.
make_earlier() {
  local folder=$PREFIX/earlier
  [ -n "${BENCH_EARLIER:-}" ] || return 0
  KINDS+=(earlier)
  mkdir -p "$folder"
  install -m 755 "$BENCH_EARLIER"/{omnipilot,spank_omnipilot.so,omnipilot_advisor.so} "$folder"
  sed "s|$PREFIX/omnipilot/|$folder/|" "$CONFIG" >"$folder/omnipilot.toml"
  for verb in init observe train; do quietly "$folder/omnipilot" --config "$folder/omnipilot.toml" "$verb"; done
  make_configuration earlier "optional $folder/spank_omnipilot.so config=$folder/omnipilot.toml"
}

# One submission of a kind. The jobs are held, so that nothing runs beside what is timed.
submit() { # KIND
  local job=(--hold --output=/dev/null --gres=gpu:a100:8 "$PREFIX/bench/job.sh")
  case $1 in
    bare | empty) timed "$1" env SLURM_CONF="$PREFIX/$1/slurm.conf" sbatch "${job[@]}" ;;
    untagged) timed untagged env SLURM_CONF="$PREFIX/ours/slurm.conf" sbatch "${job[@]}" ;;
    tagged) timed tagged env SLURM_CONF="$PREFIX/ours/slurm.conf" sbatch "${LOAD[@]/#/--}" "${job[@]}" ;;
    earlier) timed earlier env SLURM_CONF="$PREFIX/earlier/slurm.conf" sbatch "${LOAD[@]/#/--}" "${job[@]}" ;;
  esac
}
time_submissions() {
  local round kind first
  headline "sbatch on a real Slurm"
  printf '#!/bin/sh\nvllm serve %s --max-model-len 8192 --tensor-parallel-size 4\n' "$MODEL" >"$PREFIX/bench/job.sh"
  for kind in "${KINDS[@]}"; do submit "$kind"; done
  for kind in "${KINDS[@]}"; do rm -f "$PREFIX/bench/$kind"; done
  for ((round = 0; round < ROUNDS; round++)); do
    first=$((round % ${#KINDS[@]}))
    for kind in "${KINDS[@]:first}" "${KINDS[@]:0:first}"; do submit "$kind"; done
  done
  report "without the plugin" bare
  added "one with a plugin that does nothing" empty bare
  report "with the plugin, untagged" untagged
  report "with the plugin, tagged" tagged
  added "an untagged sbatch" untagged bare
  added "a tagged sbatch" tagged bare
  if [ -e "$PREFIX/bench/earlier" ]; then
    added "a tagged sbatch by the earlier release" earlier bare
    added "that by this release" tagged earlier
  fi
  scancel --user="$(id -un)"
}

# The line that loads the plugin is read afresh by every command and by every step's daemon on the node: taken away or put back, it
# acts on both.
switch() { # on|off
  if [ "$1" = on ]; then plugstack_line; fi >"$PREFIX/plugstack.d/omnipilot.conf"
}
time_steps() {
  local round state allocation
  headline "srun and steps without a tag"
  allocation=$(salloc --no-shell --nodes=1 2>&1 | sed -n 's/.*Granted job allocation \([0-9]*\).*/\1/p')
  for ((round = -1; round < ROUNDS; round++)); do
    [ "$round" != 0 ] || rm -f "$PREFIX/bench"/{srun,step}-{on,off}
    for state in $([ $((round % 2)) = 0 ] && echo on off || echo off on); do
      switch "$state"
      timed "srun-$state" srun -Q -n1 true
      timed "step-$state" srun -Q --jobid="$allocation" --overlap -n1 true
    done
  done
  switch on
  scancel "$allocation"
  report "srun without the plugin" srun-off
  added "an srun" srun-on srun-off
  report "a step without the plugin" step-off
  added "a step" step-on step-off
}

# Resident memory of sbatch, or of the child that it starts for an advice, whichever is larger; and the processor time of both, which
# other work on the machine lengthens less than it does the time that passes.
measure_costs() {
  local round kind first
  local -A conf=([bare]=bare [empty]=empty [untagged]=ours [tagged]=ours [earlier]=earlier)
  headline "What sbatch takes"
  for ((round = 0; round < ROUNDS; round++)); do
    first=$((round % ${#KINDS[@]}))
    for kind in "${KINDS[@]:first}" "${KINDS[@]:0:first}"; do
      local words=(--hold --output=/dev/null --gres=gpu:a100:8) kilobytes ms
      [[ $kind != @(tagged|earlier) ]] || words+=("${LOAD[@]/#/--}")
      read -r kilobytes ms < <(SLURM_CONF=$PREFIX/${conf[$kind]}/slurm.conf bench cost sbatch "${words[@]}" "$PREFIX/bench/job.sh")
      echo "$kilobytes" >>"$PREFIX/bench/memory-$kind"
      echo "$ms" >>"$PREFIX/bench/processor-$kind"
    done
  done
  report "processor time without the plugin" processor-bare
  added "one with a plugin that does nothing" processor-empty processor-bare
  added "an untagged one" processor-untagged processor-bare
  added "a tagged one" processor-tagged processor-bare
  if [ -e "$PREFIX/bench/processor-earlier" ]; then
    added "a tagged one by the earlier release" processor-earlier processor-bare
    added "that by this release" processor-tagged processor-earlier
  fi
  report "resident memory without the plugin, at most" memory-bare KB
  added "an untagged one" memory-untagged memory-bare KB
  added "a tagged one" memory-tagged memory-bare KB
  scancel --user="$(id -un)"
}

# Training, snapshot and advice of one store.
time_store() { # TITLE CONFIG
  local snapshot
  headline "$1"
  bench measure "train (fit, calibrate, publish)" omnipilot --config "$2" train
  snapshot=$(sed -n 's/^snapshot = "\(.*\)"/\1/p' "$2")
  printf '%-52s %9s KB\n' "snapshot" $(($(stat -Lc %s "$snapshot") / 1000))
  bench advise "$2" 500 "${LOAD[@]}"
}

# The same with all measured runs of a folder.
time_larger_store() {
  local config=$PREFIX/bench/larger.toml files=("$DATA"/*.csv)
  [ -e "${files[0]}" ] || { headline "(no runs-csv files in $DATA: the larger store is left out)"; return 0; }
  sed "s|$PREFIX/omnipilot/|$PREFIX/bench/larger/|" "$CONFIG" >"$config"
  quietly omnipilot --config "$config" init
  quietly omnipilot --config "$config" observe
  headline "Import"
  bench measure "import of $(cat "${files[@]}" | wc -l) lines" omnipilot --config "$config" import --format runs-csv "${files[@]}"
  time_store "A store with these runs" "$config"
}

# Outcome files of real jobs: their engine fails at once, so that they are many quickly.
time_ingest() {
  command -v sacct >/dev/null && grep -q '^AccountingStorageType' "$SLURM_CONF" || return 0
  local script="$PREFIX/bench/outcome.sh" files
  cat >"$script" <<'SCRIPT'
#!/bin/sh
STANDIN_FAIL=exit:1 exec omnipilot run -- vllm serve "$SLURM_LLM_MODEL"
SCRIPT
  sbatch --wait --array=1-"$JOBS" --output=/dev/null "${LOAD[@]/#/--}" "$script" >/dev/null 2>&1 || true
  sleep 5 # accounting lags a few seconds behind
  files=$(find "$PREFIX/omnipilot/spool" -name '*.json' | wc -l)
  headline "Ingest"
  bench measure "ingest of $files outcome files" omnipilot ingest
}

machine() {
  headline "$(date +%F), $(nproc) processors ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)), $(free -g | awk '/^Mem/ { print $2 }') GiB of memory"
  printf 'Slurm %s, load %s before and %s after\n' "$(sinfo -V | cut -d' ' -f2)" "$load_before" "$(cut -d' ' -f1 /proc/loadavg)"
}

main() {
  built
  load_before=$(cut -d' ' -f1 /proc/loadavg)
  choose_folder bench-run
  trap '"$ROOT/tests/cluster/down.sh" --quiet "$PREFIX"' EXIT
  trap 'exit 130' INT TERM
  start_cluster
  install_product
  make_configuration bare
  make_empty_plugin
  make_configuration empty "optional $PREFIX/lib/empty.so"
  make_configuration ours "$(plugstack_line)"
  quietly omnipilot init ${BENCH_INIT:+"$BENCH_INIT"}
  quietly omnipilot observe
  make_earlier
  printf '\n%-52s %12s   %-20s\n' "" median "middle half"
  if [ "${BENCH_PART:-all}" = all ]; then
    time_store "A store with the published figures" "$CONFIG"
  else
    quietly omnipilot train
  fi
  plugstack_line >"$PREFIX/plugstack.d/omnipilot.conf"
  time_submissions
  measure_costs
  [ "${BENCH_PART:-all}" != sbatch ] || { machine; return 0; }
  time_steps
  [ "${BENCH_PART:-all}" = all ] || { machine; return 0; }
  time_larger_store
  time_ingest
  machine
}
main
