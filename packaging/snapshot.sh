#!/usr/bin/env bash
# snapshot.sh: trains the public snapshot that comes with the command, from the evidence that is built into it.
#
#   snapshot.sh COMMAND FILE
#
# It takes a minute of a processor, so it is done again only where something changed that a training depends on: the
# evidence, the model cards, the code of the library. FILE.of holds what it was made of.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
command=$1 file=$2

made_of=$(cd "$ROOT" && find model-store -path '*/tests' -prune -o -type f \( -name '*.rs' -o -name '*.gz' -o -name '*.csv' -o -name '*.json' \) -print0 |
  LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
if [ -e "$file" ] && [ "$(cat "$file.of" 2>/dev/null)" = "$made_of" ]; then exit 0; fi

work=$(mktemp -d)
# shellcheck disable=SC2064 # the folder of now
trap "rm -rf '$work'" EXIT
echo "training the public snapshot: a minute" >&2
for verb in init train; do
  "$command" --store "$work/public.db" "$verb" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
done
install -m 644 "$work/public.snapshot" "$file.new"
mv -f "$file.new" "$file"
echo "$made_of" >"$file.of"
