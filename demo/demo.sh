#!/usr/bin/env bash
# demo.sh: the whole circle on a real Slurm, in about a minute. `make demo` builds what it needs and calls it.
#
# A tagged job is rewritten, runs on the GPUs that were chosen, another one is refused, the outcomes come back, and the next
# advice differs because of them. Everything lies in one folder; whatever ends this script ends the cluster too.
set -euo pipefail
# shellcheck source=demo/stage.sh
. "$(cd "$(dirname "$0")" && pwd)/stage.sh"

MODEL=${DEMO_MODEL:-meta-llama/Llama-3.1-70B-Instruct}
LOAD="--llm-model=$MODEL --llm-isl=1000 --llm-osl=1000 --llm-concurrency=64"
JOBS=${DEMO_JOBS:-4}

bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
step=0

# One short line before what happens.
tell() { printf '\n%s%d. %s%s\n' "$bold" $((++step)) "$*" "$plain"; }
note() { printf '   %s\n' "$*"; }

# Shows a command line as it is typed, runs it as on a terminal, and shows what it wrote. Sets OUTPUT and CODE.
typed() { # USER LINE
  printf '   %s%s$ %s%s\n' "$bold" "$1" "$2" "$plain"
  CODE=0
  OUTPUT=$(as_user "$1" script -qec "$2" /dev/null </dev/null 2>&1 | as_seen) || CODE=$?
  [ -z "$OUTPUT" ] || indent "$OUTPUT"
}
# What a terminal shows in the end of lines that rewrite themselves (progress).
as_seen() { sed -E $'s/\r$//; s/.*\r//; s/\e\\[K//g'; }
indent() { local line; while IFS= read -r line; do printf '   %s\n' "$line"; done <<<"$1"; }
# The same for a command that has to succeed.
must() {
  typed "$@"
  [ "$CODE" = 0 ] || fail "the last command ended with exit code $CODE"
}
fail() {
  printf '\ndemo: %s\ndemo: logs are in %s/log\n' "$1" "$PREFIX" >&2
  exit 1
}
operator() { if is_root; then echo root; else id -un; fi; }
user() { if is_root; then echo alice; else id -un; fi; }

job_id() { grep -oE 'Submitted batch job [0-9]+' <<<"$OUTPUT" | grep -oE '[0-9]+$' || fail "no job was submitted"; }

job_ended() { ! squeue -h -j "$1" -t PD,R,CG -o %T 2>/dev/null | grep -q .; }
wait_job() { # ID
  local tries=600
  until job_ended "$1"; do
    ((tries-- > 0)) || fail "job $1 did not end"
    sleep 0.2
  done
}

set_the_stage() {
  tell "A real Slurm on this machine: three nodes with pretended GPUs"
  start_cluster
  install_product
  install -m 755 "$ROOT/demo/serve.sh" "$PREFIX/bin/serve.sh"
  must "$(operator)" "sinfo -N -o '%N %T %G'"
  tell "The plugin comes into Slurm by one line in plugstack.conf"
  plugstack_line >"$PREFIX/plugstack.d/omnipilot.conf"
  note "$(<"$PREFIX/plugstack.d/omnipilot.conf")"
  tell "A store from the published figures, what the cluster has, a model, published for the plugin"
  must "$(operator)" "omnipilot init --figures-only"
  must "$(operator)" "omnipilot observe"
  must "$(operator)" "omnipilot train"
}

submit_and_show() {
  tell "A user submits a script that asks for eight A100, with a tag"
  as_user "$(user)" cp "$PREFIX/bin/serve.sh" .
  note "serve.sh: $(grep -c . "$PREFIX/bin/serve.sh") lines, with: $(grep gres= "$PREFIX/bin/serve.sh")"
  must "$(user)" "sbatch $LOAD serve.sh"
  first=$(job_id)
  before=$(advice)
  tell "Slurm's record of the job: other GPUs than the script asked for, and the advice's id in the comment"
  must "$(operator)" "scontrol show job $first | grep -E 'JobId|TresPerNode|Comment| NodeList='"
}

# A context that no published figure and no run comes near.
refuse() {
  tell "A request far outside what was measured is refused, with the reason"
  typed "$(user)" "sbatch --llm-model=$MODEL --llm-isl=120000 --llm-osl=1000 --llm-concurrency=64 serve.sh"
  [ "$CODE" != 0 ] || fail "this should have been refused"
  note "(exit code $CODE; no job was submitted)"
}

run_and_ingest() {
  tell "The job has run on the GPUs it was given (its engine is a stand-in: no model; this site's H100 are made up to be slow)"
  wait_job "$first"
  must "$(user)" "head -n 20 serve-$first.out"
  tell "More runs of the same kind, so that there is something to learn from"
  local n ids=()
  for ((n = 1; n < JOBS; n++)); do
    typed "$(user)" "sbatch $LOAD serve.sh"
    ids+=("$(job_id)")
  done
  for n in "${ids[@]}"; do wait_job "$n"; done
  tell "Outcomes go into the store, checked against Slurm's accounting"
  sleep 4 # accounting lags a few seconds behind
  must "$(operator)" "omnipilot ingest"
  tell "A new model from the figures and this cluster's own runs"
  must "$(operator)" "omnipilot train"
}

show_the_change() {
  tell "The same request as before, now advised by what was measured here"
  note "before:"
  indent "$before"
  note "now:"
  must "$(user)" "sbatch --hold $LOAD serve.sh"
  local after
  after=$(advice)
  [ "${before%%:*}" != "${after%%:*}" ] || [ "${before#*: }" != "${after#*: }" ] || fail "the advice did not change"
  [ "$(chosen "$before")" != "$(chosen "$after")" ] || fail "the advice still chooses $(chosen "$before")"
}
# The advised configuration and its interval in what sbatch last wrote.
advice() { grep -oE 'omnipilot: [a-z0-9]+ x [0-9]+, [a-z0-9]+: .*' <<<"$OUTPUT" || true; }

chosen() { sed -E 's/omnipilot: ([^:]*):.*/\1/' <<<"$1"; }

main() {
  built
  choose_folder demo-run
  trap '"$ROOT/tests/cluster/down.sh" --quiet "$PREFIX"' EXIT
  trap 'exit 130' INT TERM
  set_the_stage
  submit_and_show
  refuse
  run_and_ingest
  show_the_change
  printf '\nDone. Everything is stopped; all that is left is %s ("make clean" deletes it).\n' "$PREFIX"
}
main
