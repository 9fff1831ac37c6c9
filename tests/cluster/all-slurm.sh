#!/usr/bin/env bash
# all-slurm.sh: the end-to-end tests on every release of Slurm that Debian has. `make test-all-slurm` builds what it needs and calls it.
#
# The plugin, the command and the tests are those that were built on this machine, the same files for every release; the later
# releases run in folders of their own (debian.sh). Only root can do this; others are told, and nothing is run.
#   OMNIPILOT_RELEASES   folder for the other Debians (default TARGET/releases; about 1.2 GB, kept for the next time)
#   OMNIPILOT_SUITES     which of them (default "installed trixie sid")
#   all-slurm.sh [FILTER...]   only the tests whose names contain one of these
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
PROJECT=$(cd "$HERE/../.." && pwd)
: "${TARGET:=$PROJECT/target}" "${OMNIPILOT_PLUGIN:=$TARGET/plugin/libspank_omnipilot.so}"
: "${OMNIPILOT_ADVISOR:=$TARGET/release/libomnipilot_advisor.so}"
: "${OMNIPILOT_BIN:=$TARGET/release/omnipilot}" "${OMNIPILOT_STANDIN:=$TARGET/release/standin-engine}"
export TARGET
RELEASES=${OMNIPILOT_RELEASES:-$TARGET/releases}
read -ra SUITES <<<"${OMNIPILOT_SUITES:-installed trixie sid}"

# The test programs, in the order in which cargo names them.
built_tests() {
  cargo test --no-run --locked -p e2e --test plugin --test slurm 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p'
}

# Tests with programs that are not Slurm's, and which the folders do not have.
ONLY_HERE=(--skip vec_inf --skip valgrind --skip slurmrestd --skip has_no_place_that_panics)

# Ignored tests are run too: they are ignored for what this machine lacks.
run_tests() { # SUITE PROGRAM FILTER...
  local suite=$1 program=$2
  shift 2
  local line=(env RUST_BACKTRACE=0 OMNIPILOT_PLUGIN="$OMNIPILOT_PLUGIN" OMNIPILOT_ADVISOR="$OMNIPILOT_ADVISOR"
    OMNIPILOT_BIN="$OMNIPILOT_BIN" OMNIPILOT_STANDIN="$OMNIPILOT_STANDIN" "$program" --test-threads=3)
  cd "$PROJECT"
  if [ "$suite" = installed ]; then
    "${line[@]}" "$@"
  else
    "$HERE/debian.sh" run "$RELEASES/$suite" "${line[@]}" --include-ignored "${ONLY_HERE[@]}" "$@"
  fi
}
release_of() { # SUITE
  if [ "$1" = installed ]; then slurmctld -V; else "$HERE/debian.sh" version "$RELEASES/$1"; fi | grep -oE '[0-9]+\.[0-9]+\.[0-9]+'
}

# Sets passed, failed and ignored from the summary of a test program.
count() { # LOG
  passed=0 failed=0 ignored=0
  read -r passed failed ignored < <(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored;.*/\1 \2 \3/p' "$1") || true
}

main() {
  [ "$(id -u)" = 0 ] || { echo "all-slurm.sh: only root can run other Debians; \`make test\` needs none" >&2; exit 3; }
  local suite program programs log code worst=0 table=()
  mapfile -t programs < <(built_tests)
  [ ${#programs[@]} = 2 ] || { echo "all-slurm.sh: the tests are not built" >&2; exit 1; }
  mkdir -p "$RELEASES"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  for suite in "${SUITES[@]}"; do
    [ "$suite" = installed ] || "$HERE/debian.sh" make "$suite" "$RELEASES/$suite"
    for program in "${programs[@]}"; do
      code=0
      run_tests "$suite" "$program" "$@" 2>&1 | tee "$log" || code=$?
      [ "$code" = 0 ] || worst=1
      count "$log"
      table+=("$(printf '%-10s %-10s %-8s %6d %6d %7d' "$suite" "$(release_of "$suite")" "$(basename "${program%-*}")" "$passed" "$failed" "$ignored")")
    done
  done
  printf '\n%-10s %-10s %-8s %6s %6s %7s\n' Debian Slurm tests passed failed ignored
  printf '%s\n' "${table[@]}"
  exit "$worst"
}
main "$@"
