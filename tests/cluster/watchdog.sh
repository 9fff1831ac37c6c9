#!/usr/bin/env bash
# watchdog.sh OWNER_PID PREFIX [--wipe]: waits until a process has ended, however it ended, and then takes down the cluster in
# PREFIX. up.sh --owner starts it. It has no child of its own while it waits, so ending it leaves nothing behind.
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

owner=$1 prefix=$2 wipe=${3:-}
began=$(start_time "$owner")
# Reading from a pipe to which nobody writes is a sleep without a process.
exec {never}<> <(:)
while same_process "$owner" "$began"; do
  read -r -t 0.5 -u "$never" || true
done
OMNIPILOT_WATCHDOG_PID=$$ exec "$HERE/down.sh" --quiet ${wipe:+"$wipe"} "$prefix"
