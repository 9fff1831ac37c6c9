#!/usr/bin/env bash
# clean.sh: ends what `make demo` and `make bench` may have left running, and deletes their folders.
set -euo pipefail
# shellcheck source=demo/stage.sh
. "$(cd "$(dirname "$0")" && pwd)/stage.sh"
for name in demo-run bench-run; do
  delete_folder "$ROOT/$name"
  delete_folder "/var/tmp/omnipilot-$name-$(id -u)"
done
