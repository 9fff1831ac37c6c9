#!/usr/bin/env bash
# clean-root.sh FOLDER: a Debian 12 as it comes, below FOLDER, in which tests install the package. Made once, a quarter of a minute
# and 200 MB; FOLDER/ready is there when it is whole. Needs root, debootstrap and a mirror; says so where one is missing, and
# succeeds: the tests that need it are then listed as ignored.
set -euo pipefail

folder=${1:?usage: clean-root.sh FOLDER}
[ ! -e "$folder/ready" ] || exit 0

skip() {
  echo "clean-root.sh: $*: the package is not tested in a clean Debian"
  exit 0
}

[ "$(id -u)" = 0 ] || skip "only root can make a root folder"
command -v dpkg-deb >/dev/null || skip "this is no Debian"
if ! command -v debootstrap >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null 2>&1 || skip "debootstrap is not installable"
fi
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
rm -rf "$folder"
mkdir -p "$folder"
if ! debootstrap --variant=minbase bookworm "$folder/root" "$mirror" >"$folder/log" 2>&1; then
  tail -n 3 "$folder/log"
  skip "debootstrap failed"
fi
rm -rf "$folder"/root/var/cache/apt/archives/*.deb
touch "$folder/ready"
