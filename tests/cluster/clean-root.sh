#!/usr/bin/env bash
# clean-root.sh FOLDER: a Debian 12 as it comes, below FOLDER, in which tests install the package. Made once, half a minute
# and 250 MB; FOLDER/ready is there when it is whole, and FOLDER/boots where its systemd can be started as a first process. Needs root,
# debootstrap and a mirror; says so where one is missing, and succeeds: the tests that need it are then listed as ignored.
set -euo pipefail

folder=${1:?usage: clean-root.sh FOLDER}
[ ! -e "$folder/ready" ] || [ ! -e "$folder/root/usr/bin/systemctl" ] || exit 0

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
if ! debootstrap --variant=minbase --include=systemd bookworm "$folder/root" "$mirror" >"$folder/log" 2>&1; then
  tail -n 3 "$folder/log"
  skip "debootstrap failed"
fi
rm -rf "$folder"/root/var/cache/apt/archives/*.deb
touch "$folder/ready"
# In a copy: a system that was started is no longer as it came.
cp -a "$folder/root" "$folder/started"
if "${0%/*}/boot.sh" "$folder/started" true; then
  touch "$folder/boots"
else
  echo "clean-root.sh: systemd cannot be started in a folder here: the timers are not tested on a running system"
fi
rm -rf --one-file-system "$folder/started"
