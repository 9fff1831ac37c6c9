#!/usr/bin/env bash
# bench-load.sh: 50 users submit 2,000 jobs with the plugin and 2,000 without it to a real slurmctld, and a snapshot is published
# every second. `make bench-load` builds what it needs and calls it. As root the users are real ones, known to this run alone.
#   LOAD_SUBMISSIONS   of each kind (default 2000)      LOAD_USERS   (default 50)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${TARGET:-$ROOT/target}
SUBMISSIONS=${LOAD_SUBMISSIONS:-2000}
USERS=${LOAD_USERS:-50}
FIRST_UID=52000
export OMNIPILOT_PLUGIN=${OMNIPILOT_PLUGIN:-$TARGET/plugin/libspank_omnipilot.so}
export OMNIPILOT_ADVISOR=${OMNIPILOT_ADVISOR:-$TARGET/release/libomnipilot_advisor.so}

FOLDER=$(mktemp -d)
trap 'rm -rf -- "$FOLDER"' EXIT
trap 'exit 130' INT TERM

# A snapshot of the published figures, for the three GPU types of the test cluster.
publish() {
  local omnipilot=${OMNIPILOT_BIN:-$TARGET/release/omnipilot} cluster=$FOLDER/cluster
  printf '%s = "%s"\n' store "$FOLDER/store.db" snapshot "$FOLDER/model.snapshot" spool "$FOLDER/spool" >"$FOLDER/omnipilot.toml"
  chmod 755 "$FOLDER"
  "$ROOT/tests/cluster/up.sh" --quiet --no-accounting --owner $$ "$cluster"
  local verb
  for verb in init observe train; do
    SLURM_CONF=$cluster/etc/slurm.conf "$omnipilot" --config "$FOLDER/omnipilot.toml" "$verb" >/dev/null 2>"$FOLDER/stderr" ||
      { cat "$FOLDER/stderr" >&2; exit 1; }
  done
  "$ROOT/tests/cluster/down.sh" --wipe --quiet "$cluster"
}

# Users that only the processes of this run see: their lines lie over those of the machine in a name space of its own.
with_users() { # COMMAND...
  local i
  cp /etc/passwd /etc/group "$FOLDER"
  for ((i = 0; i < USERS; i++)); do
    echo "load$i:x:$((FIRST_UID + i)):$((FIRST_UID + i))::/:/bin/sh" >>"$FOLDER/passwd"
    echo "load$i:x:$((FIRST_UID + i)):" >>"$FOLDER/group"
  done
  # shellcheck disable=SC2016  # expanded inside
  unshare --mount --propagation private bash -euc \
    'for file in passwd group; do mount --bind "$0/$file" /etc/$file; done; exec "$@"' "$FOLDER" "$@"
}

publish
echo "$(date +%F), $(nproc) processors ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)), load $(cut -d' ' -f1-3 /proc/loadavg) before"
if [ "$(id -u)" = 0 ]; then
  with_users "$TARGET/release/load" "$SUBMISSIONS" "$USERS" "$FOLDER/model.snapshot" "$FIRST_UID"
else
  echo "Not root: all submissions are the calling user's."
  "$TARGET/release/load" "$SUBMISSIONS" "$USERS" "$FOLDER/model.snapshot" 0
fi
"$TARGET/release/load" controller 2000
