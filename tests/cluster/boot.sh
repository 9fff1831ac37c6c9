#!/usr/bin/env bash
# boot.sh ROOT COMMAND...: boots the Debian in the folder ROOT, systemd as its first process, runs COMMAND in it and ends it all.
#
# Namespaces and a control group of its own keep it from the machine around: no network but an idle loopback, and when it ends nothing
# of it is left running. What it writes below ROOT stays, but for /run and /tmp. Root only; exit 3 where it does not come up.
set -euo pipefail

die() {
  [ ! -s "${log:-}" ] || cat "$log" >&2
  echo "boot.sh: $1" >&2
  exit 3
}

# The first process, in its namespaces: file systems as after a start, and then systemd.
first() { # ROOT
  local root=$1 device
  umount "$root/mnt"
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  mkdir -m 1777 "$root/dev/shm"
  # Without this link no service has devices of its own.
  mkdir "$root/dev/pts"
  mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  cd "$root"
  mkdir run/outside
  pivot_root . run/outside
  umount -l /run/outside
  rmdir /run/outside
  exec env -i container=omnipilot PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd </dev/null >/dev/null 2>&1
}

inside() { # COMMAND...
  nsenter --target "$init" --mount --pid --uts --ipc --net --cgroup --root --wd env -i HOME=/root TERM=dumb \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# The control groups can go only when the last process in them has.
end() {
  local left=100
  rm -f "$log"
  [ -z "${init:-}" ] || kill -KILL "$init" 2>/dev/null || true
  wait
  while [ -d "$group" ] && ((left-- > 0)); do
    find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    [ ! -d "$group" ] || sleep 0.1
  done
}

# In a mount namespace of its own, from which the first process is started.
outside() { # ROOT COMMAND...
  local root=$1 unshare tries=600
  shift
  mount -t cgroup2 cgroup2 "$root/mnt" || die "there are no control groups of version 2"
  group=$root/mnt/omnipilot-boot-$$
  mkdir "$group" || die "no control group can be made"
  log=$(mktemp)
  trap end EXIT
  (
    echo "$BASHPID" >"$group/cgroup.procs"
    exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup "$0" --first "$root" 2>"$log"
  ) &
  unshare=$!
  until init=$(pgrep -P "$unshare") && [[ $(inside systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]; do
    kill -0 "$unshare" 2>/dev/null || die "systemd ended at once"
    ((tries-- > 0)) || die "systemd is not up after a minute"
    sleep 0.1
  done
  inside "$@"
}

main() {
  case ${1:-} in
    --first) first "$2" ;;
    --outside) shift; outside "$@" ;;
    *)
      [ $# -ge 2 ] || { echo "usage: boot.sh ROOT COMMAND..." >&2; exit 2; }
      [ "$(id -u)" = 0 ] || die "only root can boot a folder"
      local root
      root=$(realpath "$1")
      shift
      exec unshare --mount "$0" --outside "$root" "$@"
      ;;
  esac
}
main "$@"
