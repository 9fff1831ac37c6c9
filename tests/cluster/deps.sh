#!/usr/bin/env bash
# deps.sh: makes sure that what a test cluster and the build need is installed (Debian 12, 13 and later).
#
# A no-op when everything is there. As root it installs what is missing from Debian's packages and starts no service.
# As anyone else it prints the line an administrator would have to run, and leaves the decision to the caller.
#
#   deps.sh            install or name what is missing; exit 0 (also when something is still missing)
#   deps.sh --strict   the same, but exit 3 when something is still missing
#   deps.sh --without-accounting   do not ask for slurmdbd and MariaDB
#   deps.sh --for-tests   also what single tests are about and the product never calls: where that cannot be had, a line says so, and
#                      the tests that need it are listed as ignored
set -euo pipefail

strict=0
accounting=1
tests=0
for argument in "$@"; do
  case $argument in
    --strict) strict=1 ;;
    --without-accounting) accounting=0 ;;
    --for-tests) tests=1 ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "deps.sh: unknown argument: $argument" >&2; exit 2 ;;
  esac
done

# Daemons live in sbin, which is not on every user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# One line per need: the command that proves it, and Debian's package that brings it.
needs() {
  cat <<'NEEDS'
slurmctld slurmctld
slurmd slurmd
sbatch slurm-client
munged munge
cc gcc
make make
setpriv util-linux
ps procps
NEEDS
  if [ "$accounting" = 1 ]; then
    echo 'slurmdbd slurmdbd'
    echo 'mariadbd mariadb-server'
    echo 'mariadb-install-db mariadb-server'
  fi
}

# The same for what single tests are about. A name with a slash is a file.
test_needs() {
  cat <<'NEEDS'
slurmrestd slurmrestd
ruby ruby
rpmbuild rpm
debootstrap debootstrap
chromium chromium
/usr/share/fonts/truetype/liberation fonts-liberation
shellcheck shellcheck
zsh zsh
NEEDS
}
missing_for_tests() {
  local need package
  while read -r need package; do
    [ -e "$need" ] || command -v "$need" >/dev/null 2>&1 || echo "$package"
  done < <(test_needs)
}

missing_packages() {
  local command package
  while read -r command package; do
    command -v "$command" >/dev/null 2>&1 || echo "$package"
  done < <(needs) | sort -u
  if command -v slurmctld >/dev/null 2>&1 && ! plugins_installed; then
    echo slurm-wlm-basic-plugins
  fi
  # rusqlite compiles SQLite's C source, so libc's headers are needed beside the compiler.
  [ -e /usr/include/stdio.h ] || echo libc6-dev
}

# Slurm's serialiser plugins come in a package of their own, and only sometimes as a dependency.
plugins_installed() {
  local found=(/usr/lib/*/slurm*/serializer_json.so /usr/lib/slurm*/serializer_json.so /usr/lib64/slurm/serializer_json.so)
  local file
  for file in "${found[@]}"; do
    [ ! -e "$file" ] || return 0
  done
  return 1
}

# Debian asks policy-rc.d before it starts a service; 101 means "no". What stood there before is put back.
POLICY=/usr/sbin/policy-rc.d
forbid_service_starts() {
  [ -z "${forbidden:-}" ] || return 0
  forbidden=1
  if [ -e "$POLICY" ]; then
    policy_backup=$(mktemp)
    cp -p "$POLICY" "$policy_backup"
  fi
  trap restore_policy EXIT
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
}
restore_policy() {
  if [ -n "${policy_backup:-}" ]; then
    cp -p "$policy_backup" "$POLICY"
    rm -f "$policy_backup"
  else
    rm -f "$POLICY"
  fi
}

# Installs, or leaves the reason in $log.
apt_install() { # PACKAGE...
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null
}
install_packages() {
  log=$(mktemp)
  forbid_service_starts
  echo "installing: $*"
  if ! apt_install "$@"; then
    tail -n 20 "$log" >&2
    echo "deps.sh: apt-get could not install: $* (whole log: $log)" >&2
    exit 1
  fi
  rm -f "$log"
}
# One by one where all at once fails: a machine may have no Chromium, and rpm all the same.
install_for_tests() {
  local package
  log=$(mktemp)
  forbid_service_starts
  echo "installing for the tests: $*"
  apt_install "$@" || for package in "$@"; do
    apt_install "$package" || echo "not installable: $package ($(grep -m 1 '^E: ' "$log")); the tests that need it are listed as ignored"
  done
  rm -f "$log"
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

# What the product and its test cluster need.
require() {
  local packages
  mapfile -t packages < <(missing_packages)
  [ ${#packages[@]} -gt 0 ] || return 0
  if can_install; then
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    echo "deps.sh: still missing after installing: ${packages[*]}" >&2
    exit 1
  fi
  echo "missing, and only root can install it: ${packages[*]}"
  echo "an administrator can, without starting any service:"
  echo "  apt-get update && apt-get install --no-install-recommends ${packages[*]}"
  [ "$strict" = 0 ] || exit 3
}

prepare_tests() {
  local packages
  mapfile -t packages < <(missing_for_tests)
  [ ${#packages[@]} -gt 0 ] || return 0
  if can_install; then
    install_for_tests "${packages[@]}"
  else
    echo "single tests need more, which only root can install: ${packages[*]}"
  fi
}

require
[ "$tests" = 0 ] || prepare_tests
