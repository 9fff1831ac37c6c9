#!/usr/bin/env bash
# down.sh [--wipe] [--quiet] PREFIX: ends the cluster that up.sh started in PREFIX, its jobs first.
#
# Ends exactly the processes that up.sh recorded (pid and start time), and the job processes that carry this cluster's
# SLURM_CONF in their environment. Nothing is ever ended by name.
#   --wipe    do not wait for databases to be written out, and delete PREFIX afterwards
#   --quiet   print nothing on success
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

wipe=0 quiet=0 prefix=
for argument in "$@"; do
  case $argument in
    --wipe) wipe=1 ;;
    --quiet) quiet=1 ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) die "unknown option: $argument" ;;
    *) prefix=$argument ;;
  esac
done
[ -n "$prefix" ] || die "usage: down.sh [--wipe] [--quiet] PREFIX"

# Asks Slurm to end its jobs, and gives them a few seconds.
cancel_jobs() {
  recorded slurmctld || return 0
  local jobs
  jobs=$(timeout 5 squeue -h -o %A 2>/dev/null | sort -u) || return 0
  [ -n "$jobs" ] || return 0
  # shellcheck disable=SC2086  # one argument per job id
  timeout 5 scancel --full $jobs >/dev/null 2>&1 || true
  wait_until 5 no_job_runs || true
}
no_job_runs() { [ -z "$(timeout 5 squeue -h -t R,CG -o %A)" ]; }

# Job processes of this cluster: a step daemon, or anything with a job id, whose environment names this cluster.
job_processes() {
  local file pid
  while read -r file; do
    pid=${file#/proc/} pid=${pid%/environ}
    if grep -qzsE '^SLURM_JOB_?ID=' "$file" || [[ $(cat "/proc/$pid/comm" 2>/dev/null) = slurmstepd* ]]; then
      echo "$pid $(start_time "$pid")"
    fi
  done < <(grep -lzxsF "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ)
}
end_job_processes() {
  local pid began
  while read -r pid began; do
    end_process "$pid" "$began" 0
  done < <(job_processes)
}

stop() { # NAME GRACE
  if recorded "$1"; then end_process "$pid" "$began" "$2"; fi
  rm -f "$P/run/$1.proc"
}

stop_daemons() {
  local grace=20 record name
  [ "$wipe" = 0 ] || grace=0
  stop watchdog 0
  for record in "$P"/run/slurmd-*.proc; do
    [ -e "$record" ] || continue
    name=${record##*/}
    stop "${name%.proc}" "$grace"
  done
  end_job_processes
  for name in slurmctld slurmdbd mariadbd munged; do
    stop "$name" "$grace"
  done
}

main() {
  use_prefix "$prefix"
  [ -e "$P/$MARKER" ] || return 0
  # A watchdog that runs this script is not to end itself half way.
  if recorded watchdog && [ "$pid" = "${OMNIPILOT_WATCHDOG_PID:-}" ]; then rm -f "$P/run/watchdog.proc"; fi
  cancel_jobs
  stop_daemons
  [ "$wipe" = 0 ] || rm -rf -- "$P"
  [ "$quiet" = 1 ] || echo "cluster in $P is down"
}
main
