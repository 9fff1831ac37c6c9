#!/usr/bin/env bash
# debian.sh: another Debian, with its Slurm, in a folder of this machine. Root only.
#
#   debian.sh make SUITE FOLDER         makes the folder (about 1.3 GB) by debootstrap and apt; a no-op when it is there
#   debian.sh run FOLDER COMMAND...     runs a command in it, the project's folder in its usual place
#   debian.sh version FOLDER            prints the release of Slurm in it, as 24.11.5
#
# Where TARGET names a folder outside of the project's, that is there too.
#
# `run` takes namespaces of its own for mounts and processes: when the command ends, its mounts go and whatever it left running
# is ended, so that nothing of it can reach the machine around. The network is the machine's.
#   OMNIPILOT_DEBIAN_MIRROR   where the packages come from (default http://deb.debian.org/debian)
set -euo pipefail

MIRROR=${OMNIPILOT_DEBIAN_MIRROR:-http://deb.debian.org/debian}
PROJECT=$(cd "$(dirname "$0")/../.." && pwd)
PACKAGES=(slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins munge mariadb-server make procps util-linux)
# The mark of a folder that was finished: one that was interrupted is made anew.
READY=.omnipilot-debian

die() { echo "debian.sh: $1" >&2; exit "${2:-1}"; }

make_debian() { # SUITE FOLDER
  local suite=$1 folder=$2 log
  [ ! -e "$folder/$READY" ] || return 0
  command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap" 3
  rm -rf --one-file-system "$folder"
  mkdir -p "$folder"
  log=$folder.log
  echo "making a Debian $suite in $folder (a few minutes, once)"
  if ! { debootstrap --variant=minbase "$suite" "$folder" "$MIRROR" && prepare "$folder" && install_slurm "$folder"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    die "Debian $suite cannot be made (whole log: $log)" 3
  fi
  rm -rf "$folder"/var/lib/apt/lists/* "$folder"/var/cache/apt/*.bin "$folder"/var/cache/apt/archives/*.deb "$log"
  version_of "$folder" >"$folder/$READY.new" || die "the Slurm in $folder does not start"
  mv "$folder/$READY.new" "$folder/$READY"
}

# No service starts, nothing is synced to disk, and documentation is left out.
prepare() { # FOLDER
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod 755 "$1/usr/sbin/policy-rc.d"
  echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/omnipilot"
  # A mirror that stands still, as an archive of snapshots does, is as good; signatures are checked all the same.
  echo 'Acquire::Check-Valid-Until "false";' >"$1/etc/apt/apt.conf.d/omnipilot"
  printf 'path-exclude=/usr/share/%s/*\n' doc man locale info >>"$1/etc/dpkg/dpkg.cfg.d/omnipilot"
}
install_slurm() { # FOLDER
  enter "$1" env DEBIAN_FRONTEND=noninteractive bash -euc \
    'apt-get update -qq; apt-get install -y -qq --no-install-recommends "$@"; apt-get clean' - "${PACKAGES[@]}"
  replace_broken_client "$1"
}

# With version 11.8.9 of MariaDB's client library slurmdbd of any release ends at its start ("Number of columns in result (=1) set
# execeeds maxmimum allowed number of columns (=0)"). Debian 13 has it by now, too; Debian 12's, with the same interface, takes its place.
replace_broken_client() {
  # shellcheck disable=SC2016  # expanded inside
  enter "$1" bash -euc '
    case $(dpkg-query -W -f "\${Version}" libmariadb3) in 1:11.8.9*) ;; *) exit 0 ;; esac
    list=/etc/apt/sources.list.d/older.list
    echo "deb $0 bookworm main" >$list
    apt-get update -qq
    cd /tmp
    apt-get download -qq libmariadb3/bookworm
    rm $list
    dpkg --force-downgrade --force-depends -i libmariadb3_*.deb
    rm libmariadb3_*.deb
  ' "$MIRROR"
}

# sbatch tells its version only where it finds a configuration.
version_of() { # FOLDER
  enter "$1" bash -c 'echo "ClusterName=x" >/tmp/slurm.conf; echo "SlurmctldHost=x" >>/tmp/slurm.conf; SLURM_CONF=/tmp/slurm.conf sbatch -V' |
    grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1
}

# The command becomes the child of the namespace's first process, which ends every other one when it ends.
enter() { # FOLDER COMMAND...
  local folder
  folder=$(realpath "$1")
  shift
  unshare --mount --pid --fork --kill-child --propagation private \
    bash -euc "$INSIDE" debian.sh "$folder" "$PROJECT" "${TARGET:-}" "$@"
}
# shellcheck disable=SC2016  # expanded inside
INSIDE='
  folder=$1 project=$2 target=$3
  shift 3
  mount --bind "$folder" "$folder"
  mount -t proc proc "$folder/proc"
  mount --rbind /sys "$folder/sys"
  mount --rbind /dev "$folder/dev"
  for place in "$project" ${target:+"$target"}; do
    mkdir -p "$folder$place"
    mount --bind "$place" "$folder$place"
  done
  for file in hosts resolv.conf; do
    if [ -e "/etc/$file" ]; then cp -L "/etc/$file" "$folder/etc/$file"; fi
  done
  exec chroot "$folder" /usr/bin/env PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin \
    bash -c "cd \"\$0\" && \"\$@\"" "$project" "$@"
'

[ "$(id -u)" = 0 ] || die "only root can make and enter a Debian in a folder" 3
case ${1:-} in
  make) make_debian "$2" "$3" ;;
  run) shift; enter "$@" ;;
  version) cat "$2/$READY" ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
