#!/usr/bin/env bash
# sanitize.sh: the plugin and its library in every context of Slurm under checkers of memory. `make sanitize` calls it.
#
# The stand-in for Slurm's processes (spank-plugin/tests/host.c) and the tests around it run, together with the child process that asks
#   under valgrind, where it is installed: what a program that nobody instrumented reads and writes;
#   with the address sanitizer in plugin, library, stand-in and unit tests, where a nightly toolchain of Rust is installed: it also
#   sees what is read behind the end of a variable. Stable Rust has no switch for it.
# It fails where neither is there. What each run says is on stdout.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
TARGET=${TARGET:-$ROOT/target}
cd "$ROOT"
ran=0

under_valgrind() {
  echo "== under $(valgrind --version)"
  OMNIPILOT_UNDER="valgrind -q --error-exitcode=99 --trace-children=yes" cargo test --quiet --locked -p spank-plugin --test host
}

with_address_sanitizer() {
  echo "== with the address sanitizer of $(rustc +nightly --version)"
  # Leaks are none: a submitting command ends, and Slurm keeps what it was given.
  CARGO_TARGET_DIR=$TARGET/sanitize RUSTFLAGS="-Zsanitizer=address" OMNIPILOT_CC="-fsanitize=address" ASAN_OPTIONS=detect_leaks=0 \
    cargo +nightly test --quiet --locked -p spank-plugin -p spank-advisor -p plugin-contract --lib --tests \
    --target "$(rustc -vV | sed -n 's/^host: //p')"
}

if command -v valgrind >/dev/null; then
  under_valgrind
  ran=1
else
  echo "valgrind is not installed: left out"
fi
if rustc +nightly --version >/dev/null 2>&1; then
  with_address_sanitizer
  ran=1
else
  echo "no nightly toolchain of Rust is installed: the address sanitizer is left out"
fi
[ "$ran" = 1 ] || { echo "sanitize.sh: nothing was checked" >&2; exit 1; }
