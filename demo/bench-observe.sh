#!/usr/bin/env bash
# bench-observe.sh: how long `omnipilot observe` takes, publishing included, on 5,000 nodes with GPUs and 10,000 associations. The
# text is made up from what a real Slurm of each release prints: 22.05 here, others where `make test-all-slurm` has made their folders.
#   OBSERVE_TIMES   runs of each (default 11)      TARGET   (default target)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${TARGET:-$ROOT/target}
TIMES=${OBSERVE_TIMES:-11}
OMNIPILOT=${OMNIPILOT_BIN:-$TARGET/release/omnipilot}
# Below TARGET: the folders of other releases see it in its place.
FOLDER=$(mktemp -d "$TARGET/observe.XXXXXX")
trap 'rm -rf -- "$FOLDER"' EXIT
trap 'exit 130' INT TERM

ASSOCIATIONS=format=Cluster,Account,User,ParentName,GrpTRES,GrpTRESMins,GrpTRESRunMins,MaxTRES,MaxTRESPerNode,MaxTRESMins,DefaultQOS,QOS
QOS=format=Name,UsageFactor,GrpTRES,GrpTRESMins,GrpTRESRunMins,MaxTRES,MaxTRESPU,MaxTRESPA,MaxTRESPerNode,MaxTRESMins,MinTRES

# What a real cluster prints, into a folder. Run in the release's own folder.
capture() { # FOLDER
  local cluster=/tmp/omnipilot-observe.$$
  printf 'AccountingStorageEnforce=associations,limits,qos\n' >"$1/conf"
  "$ROOT/tests/cluster/up.sh" --quiet --conf "$1/conf" --owner $$ "$cluster"
  export SLURM_CONF=$cluster/etc/slurm.conf
  sacctmgr -i add account one >/dev/null
  sacctmgr -i modify account one set MaxTRESPerJob=gres/gpu=8 GrpTRES=gres/gpu:h200=64 >/dev/null
  sacctmgr -i add user nobody account=one >/dev/null
  scontrol -d -o show nodes >"$1/nodes"
  scontrol -a -o show partition >"$1/partition"
  scontrol show config >"$1/config"
  scontrol create reservation reservationname=one starttime=now duration=60 user=root nodes=a1 >/dev/null
  SLURM_TIME_FORMAT=%s scontrol -a -o show reservation >"$1/reservation"
  sacctmgr -nP show assoc "$ASSOCIATIONS" >"$1/assoc"
  sacctmgr -nP show qos "$QOS" >"$1/qos"
  sacctmgr -nP show user format=User,DefaultAccount >"$1/user"
  "$ROOT/tests/cluster/down.sh" --quiet --wipe "$cluster"
}

# The same of a large site: every line of a node, an account or a user many times, each with names and limits of its own.
enlarge() { # FOLDER
  awk -v many=5000 '{ line[NR] = $0 }
    END { for (n = 1; n <= many; n++) { s = line[n % NR + 1]
      sub(/^NodeName=[^ ]*/, "NodeName=gpu" n, s); sub(/RealMemory=[0-9]+/, "RealMemory=" 256000 * (1 + n % 4), s)
      sub(/ActiveFeatures=/, "ActiveFeatures=rack" n % 5 ",", s); if (n % 50 == 0) sub(/State=[^ ]*/, "State=IDLE+DRAIN", s)
      print s } }' "$1/nodes" >"$1/nodes.many"
  awk -F'|' -v OFS='|' -v accounts=1500 -v many=10000 '
    $2 == "root" { print; next }
    $3 == "" { account = $0; next }
    { user = $0 }
    END {
      for (a = 0; a < accounts; a++) { $0 = account; $2 = "acct" a; $5 = "gres/gpu:h200=" 1 + a % 64; $8 = "gres/gpu=" 1 + a % 16; print }
      for (u = 0; u < many - accounts; u++) { $0 = user; $2 = "acct" u % accounts; $3 = "user" u; $8 = "gres/gpu=" 1 + u % accounts % 16; print }
    }' "$1/assoc" >"$1/assoc.many"
  awk -F'|' -v accounts=1500 '{ print } END { for (u = 0; u < 8500; u++) print "user" u "|acct" u % accounts }' "$1/user" >"$1/user.many"
}

# Slurm's commands as the captured text.
commands() { # FOLDER
  mkdir -p "$1/bin"
  # shellcheck disable=SC2016  # for the script
  printf '#!/bin/sh\nfor last; do :; done\ncd %q && exec cat "$(case $last in nodes) echo nodes.many;; *) echo "$last";; esac)"\n' "$1" >"$1/bin/scontrol"
  # shellcheck disable=SC2016
  printf '#!/bin/sh\ncd %q\nfor word; do case $word in assoc | user) exec cat $word.many ;; qos) exec cat qos ;; esac; done\n' "$1" >"$1/bin/sacctmgr"
  printf '#!/bin/sh\n' | tee "$1/bin/squeue" "$1/bin/sinfo" >"$1/bin/sacct"
  chmod 755 "$1"/bin/*
}

measure() { # RELEASE FOLDER
  local config=$2/omnipilot.toml i
  printf '%s = "%s"\n' store "$2/store.db" snapshot "$2/model.snapshot" spool "$2/spool" >"$config"
  export PATH=$2/bin:$PATH
  local verb
  for verb in "init --figures-only" observe train; do
    # shellcheck disable=SC2086  # words
    "$OMNIPILOT" --config "$config" $verb >/dev/null 2>"$2/stderr" || { cat "$2/stderr" >&2; exit 1; }
  done
  for ((i = 0; i < TIMES; i++)); do
    /usr/bin/env bash -c 'TIMEFORMAT="%R %U"; time "$@" >/dev/null 2>&1' - "$OMNIPILOT" --config "$config" observe
  done 2>"$2/times"
  sort -n "$2/times" | awk -v release="$1" -v size="$(stat -c %s "$2/model.snapshot")" '
    { all[NR] = $1; cpu += $2 }
    END { printf "%s: observe %.2f s (median of %d, %.2f to %.2f), %.2f s of processor time; snapshot %.2f MB\n",
      release, all[int((NR + 1) / 2)], NR, all[1], all[NR], cpu / NR, size / 1e6 }'
}

if [ "${1:-}" = --capture ]; then
  capture "$2"
  exit
fi
echo "$(date +%F), $(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg) before"
for suite in installed trixie sid; do
  folder=$FOLDER/$suite release=
  mkdir -p "$folder"
  if [ "$suite" = installed ]; then
    release=$(slurmctld -V | cut -d' ' -f2)
    (capture "$folder")
  elif [ -e "$TARGET/releases/$suite/.omnipilot-debian" ] && [ "$(id -u)" = 0 ]; then
    release=$(cat "$TARGET/releases/$suite/.omnipilot-debian")
    "$ROOT/tests/cluster/debian.sh" run "$TARGET/releases/$suite" "$ROOT/demo/bench-observe.sh" --capture "$folder"
  else
    continue
  fi
  enlarge "$folder"
  commands "$folder"
  (measure "$release" "$folder")
done
