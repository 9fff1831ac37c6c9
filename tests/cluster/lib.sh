# shellcheck shell=bash
# lib.sh: what up.sh and down.sh share. To be sourced, never run.
#
# A daemon is known by its pid AND its start time (field 22 of /proc/PID/stat), written to PREFIX/run/NAME.proc: a pid that
# the kernel has given to another process since then does not match, and is left alone.

# Daemons live in sbin, which is not on every user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export HERE

# The file by which a cluster's folder is known: a folder without it is never touched.
export MARKER=.omnipilot-cluster

# Fails with one line, and the end of a log file when one is given.
die() { # MESSAGE [LOG]
  echo "${0##*/}: $1" >&2
  if [ -n "${2:-}" ] && [ -s "$2" ]; then
    echo "--- the end of $2" >&2
    tail -n 15 "$2" >&2
  fi
  exit 1
}

# The start time of a process, in clock ticks since boot; nothing for one that is gone or a zombie.
start_time() { # PID
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  local -a field
  read -ra field <<<"${stat##*) }"
  [ "${field[0]}" = Z ] || echo "${field[19]}"
}

# Whether the process PID that began at START still runs.
same_process() { # PID START
  [ -n "${2:-}" ] && [ "$(start_time "$1")" = "$2" ]
}

# Sets pid and began to those of the daemon NAME, and tells whether it still runs.
recorded() { # NAME
  pid='' began=''
  [ -s "$P/run/$1.proc" ] && read -r pid began <"$P/run/$1.proc" && same_process "$pid" "$began"
}

# Waits at most SECONDS for a command to succeed.
wait_until() { # SECONDS COMMAND...
  local tries=$(($1 * 20))
  shift
  while ! "$@" >/dev/null 2>&1; do
    ((tries-- > 0)) || return 1
    sleep 0.05
  done
}

# Ends one process by pid and start time: SIGTERM, then SIGKILL after GRACE seconds (0: SIGKILL at once).
end_process() { # PID START GRACE
  if ! same_process "$1" "$2"; then return 0; fi
  if [ "$3" != 0 ]; then
    kill -TERM "$1" 2>/dev/null || true
    if wait_until "$3" process_gone "$1" "$2"; then return 0; fi
  fi
  kill -KILL "$1" 2>/dev/null || true
  wait_until 5 process_gone "$1" "$2" || true
}
process_gone() { ! same_process "$1" "$2"; }

# Makes P the absolute path of PREFIX, and points Slurm's commands at its configuration.
use_prefix() { # PREFIX
  P=$(realpath -m -- "$1")
  case $P in
    *[[:space:]]*) die "the folder's path must not contain blanks (Slurm's configuration cannot hold them): $P" ;;
  esac
  export P SLURM_CONF=$P/etc/slurm.conf
}
