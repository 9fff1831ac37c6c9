#!/usr/bin/env bash
# vec-inf.sh FOLDER: a Python environment in FOLDER with the launcher vec-inf 0.9.0 from PyPI (60 MB), for the test of silence.
#
# A no-op when it is there. Where it cannot be made (no Python 3.10 or later, no PyPI) one line says so, and the test is listed as
# ignored with that reason.
set -euo pipefail

VERSION=0.9.0
folder=${1:?usage: vec-inf.sh FOLDER}
[ ! -e "$folder/ready" ] || exit 0

skip() {
  rm -rf -- "$folder"
  echo "skipped: the test with vec-inf $VERSION ($1)"
  exit 0
}

log=$folder.log
rm -rf -- "$folder"
mkdir -p "${folder%/*}"
python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || skip "there is no Python 3.10 with venv"
python3 -m venv "$folder" >"$log" 2>&1 || skip "no Python environment can be made: $log"
timeout 120 "$folder/bin/pip" install -q --retries 1 --disable-pip-version-check "vec-inf==$VERSION" >>"$log" 2>&1 ||
  skip "PyPI cannot be reached: $log"
rm -f "$log"
touch "$folder/ready"
