#!/usr/bin/env bash
# reproduce.sh: builds a copy of the sources in another folder and compares it with what was built here, byte by byte.
# `make reproduce` calls it, after `make build`. It takes as long as a build from nothing.
#
# From the environment: OMNIPILOT_PLUGIN, OMNIPILOT_ADVISOR, OMNIPILOT_BIN (what was built), TARGET (folder).
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OTHER=${TARGET:-$ROOT/target}/reproduce/another-folder
rm -rf -- "$OTHER"
mkdir -p "$OTHER"
# Tracked files as they lie here: what is not committed is compared too.
git -C "$ROOT" ls-files -z | (cd "$ROOT" && xargs -0 cp --parents -t "$OTHER")

CARGO_TARGET_DIR=$OTHER/target make --no-print-directory -C "$OTHER" build

differ=0
compare() { # BUILT_HERE BUILT_THERE
  if cmp -s "$1" "$2"; then
    echo "same: $(basename "$1") $(sha256sum "$1" | cut -c 1-16)"
  else
    echo "differs: $1 and $2" >&2
    differ=1
  fi
}
compare "$OMNIPILOT_PLUGIN" "$OTHER/target/plugin/$(basename "$OMNIPILOT_PLUGIN")"
compare "$OMNIPILOT_ADVISOR" "$OTHER/target/release/$(basename "$OMNIPILOT_ADVISOR")"
compare "$OMNIPILOT_BIN" "$OTHER/target/release/$(basename "$OMNIPILOT_BIN")"
[ "$differ" = 0 ] && rm -rf -- "$OTHER"
exit "$differ"
