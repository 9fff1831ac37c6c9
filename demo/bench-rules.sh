#!/usr/bin/env bash
# bench-rules.sh: what a site's own rules cost a tagged `sbatch`: as the snapshot tells them, and as slurmctld is asked (`ask_slurm`).
#
# One slurmctld; the commands differ in the plugstack and configuration that they read. Rounds submit one held job of each kind, another kind
# first each time. Then as many processes as users submit at once, while `sinfo` is timed beside them.
#   RULES_ROUNDS  (default 120)    RULES_USERS  (default 50)    RULES_EACH  jobs of each user (default 6)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${TARGET:-$ROOT/target}
ROUNDS=${RULES_ROUNDS:-120} USERS=${RULES_USERS:-50} EACH=${RULES_EACH:-6}
BENCH=${OMNIPILOT_BENCH:-$TARGET/release/bench}
OMNIPILOT=${OMNIPILOT_BIN:-$TARGET/release/omnipilot}
KINDS=(bare stated seen asked)
P=$(mktemp -d /var/tmp/omnipilot-rules.XXXXXX)
trap '"$ROOT/tests/cluster/down.sh" --quiet --wipe "$P" >/dev/null 2>&1 || true; rm -rf -- "$P"' EXIT
trap 'exit 130' INT TERM

start() {
  chmod 755 "$P"
  printf 'AccountingStorageEnforce=associations,limits,qos\nMaxJobCount=100000\n' >"$P.conf"
  "$ROOT/tests/cluster/up.sh" --quiet --owner $$ --conf "$P.conf" "$P"
  rm "$P.conf"
  # shellcheck disable=SC1091  # made just now
  . "$P/env.sh"
  mkdir -p "$P/lib" "$P/ms"
  install -m755 "${OMNIPILOT_ADVISOR:-$TARGET/release/libomnipilot_advisor.so}" "$P/lib/omnipilot_advisor.so"
  install -m755 "${OMNIPILOT_PLUGIN:-$TARGET/plugin/libspank_omnipilot.so}" "$P/lib/spank_omnipilot.so"
  sacctmgr -i add account one >/dev/null
  sacctmgr -i add user "$(id -un)" account=one >/dev/null
}

# Configuration, plugstack and slurm.conf of a kind; a kind with a store of its own publishes a snapshot.
kind() { # NAME OBSERVE_ARGUMENTS...
  local name=$1 folder=$P/$1 verb
  shift
  mkdir -p "$folder/plugstack.d"
  printf '%s = "%s"\n' store "$folder/store.db" snapshot "$folder/model.snapshot" spool "$folder/spool" >"$folder/omnipilot.toml"
  # Fifty processes share the processors: an advice that has to wait for one is late, not wrong.
  echo "time_limit_ms = 30000" >>"$folder/omnipilot.toml"
  for verb in "init --figures-only" "observe $*" train; do
    # shellcheck disable=SC2086  # words
    "$OMNIPILOT" --config "$folder/omnipilot.toml" $verb >/dev/null 2>"$P/stderr" || { cat "$P/stderr" >&2; exit 1; }
  done
  clients "$name" "optional $P/lib/spank_omnipilot.so config=$folder/omnipilot.toml"
}
clients() { # NAME LINE
  mkdir -p "$P/$1/plugstack.d"
  echo "$2" >"$P/$1/plugstack.d/entry.conf"
  echo "include $P/$1/plugstack.d/*.conf" >"$P/$1/plugstack.conf"
  sed "s|^PlugStackConfig=.*|PlugStackConfig=$P/$1/plugstack.conf|" "$P/etc/slurm.conf" >"$P/$1/slurm.conf"
  cp "$P/etc/gres.conf" "$P/etc/cgroup.conf" "$P/$1/"
}

# One held job that asks for eight A100 and is advised fewer of another kind.
submit() { # KIND
  local tag=(--llm-model=meta-llama/Llama-3.1-8B-Instruct --llm-isl=1000 --llm-osl=1000 --llm-concurrency=64)
  [ "$1" != bare ] || tag=()
  SLURM_CONF=$P/$1/slurm.conf "${@:2}" sbatch --hold --parsable -o /dev/null -t 10 --gres=gpu:a100:8 "${tag[@]}" "$P/job.sh" 2>>"$P/said" </dev/null
}
# The same; processor time of the command and what it starts goes to a file.
counted() { # KIND
  submit "$1" "$BENCH" cost | tail -n 1 | cut -d' ' -f2 >>"$P/ms/cpu.$1"
}
timed() { # FILE COMMAND...
  local file=$1 from to
  shift
  from=${EPOCHREALTIME/./}
  "$@" || true
  to=${EPOCHREALTIME/./}
  printf '%d.%03d\n' $(((to - from) / 1000)) $(((to - from) % 1000)) >>"$file"
}

rounds() {
  local round i
  for ((round = 0; round < ROUNDS; round++)); do
    for ((i = 0; i < ${#KINDS[@]}; i++)); do
      local one=${KINDS[(round + i) % ${#KINDS[@]}]}
      timed "$P/ms/$one" counted "$one"
    done
  done
  local name
  for name in "${KINDS[@]}"; do "$BENCH" spread ms "$name" "$P/ms/$name"; done
  local what
  for what in "" cpu.; do
    echo "${what:+processor }time added:"
    "$BENCH" added ms "  tagged, GPUs stated, to bare" "$P/ms/${what}stated" "$P/ms/${what}bare"
    "$BENCH" added ms "  rules from the snapshot, to stated" "$P/ms/${what}seen" "$P/ms/${what}stated"
    "$BENCH" added ms "  slurmctld asked, to those" "$P/ms/${what}asked" "$P/ms/${what}seen"
  done
}

crowd() { # KIND
  local user i pids=() from to
  rm -f "$P"/ms/crowd.* "$P/ms/sinfo"
  from=${EPOCHREALTIME/./}
  for ((user = 0; user < USERS; user++)); do
    (for ((i = 0; i < EACH; i++)); do timed "$P/ms/crowd.$user" submit "$1" >/dev/null; done) &
    pids+=($!)
  done
  while kill -0 "${pids[@]}" 2>/dev/null; do
    timed "$P/ms/sinfo" sinfo -h -o %D >/dev/null
    sleep 0.1
  done
  wait "${pids[@]}"
  to=${EPOCHREALTIME/./}
  cat "$P"/ms/crowd.* >"$P/ms/crowd"
  echo "$USERS at once, $1: $((USERS * EACH)) jobs in $(((to - from) / 1000)) ms"
  "$BENCH" spread ms "  sbatch" "$P/ms/crowd"
  "$BENCH" spread ms "  sinfo beside them" "$P/ms/sinfo"
}

start
# shellcheck disable=SC2016  # for the job
printf '#!/bin/sh\nexec omnipilot run -- vllm serve "$SLURM_LLM_MODEL"\n' >"$P/job.sh"
clients bare ""
kind stated --gpus a100:8,h100:8,h200:8
kind seen
kind asked
echo "ask_slurm = true" >>"$P/asked/omnipilot.toml"
echo "$(date +%F), $(nproc) processors, Slurm $(slurmctld -V | cut -d' ' -f2), load $(cut -d' ' -f1-3 /proc/loadavg) before, n = $ROUNDS"
rounds
for name in "${KINDS[@]}"; do crowd "$name"; done
echo "lines on stderr: $(wc -l <"$P/said")"
sort "$P/said" | uniq -c | sort -rn | head -n 3
