#!/usr/bin/env bash
# up.sh [OPTIONS] PREFIX: starts a real Slurm on this machine, with no systemd and no container; all its state is in PREFIX.
#
# Three nodes with pretended GPUs: a1 with 8 x a100, h1 with 8 x h100, h2 with 8 x h200; a partition "serve"; accounting
# through slurmdbd and a MariaDB of its own. Free ports are chosen, so several clusters run side by side. A daemon that
# still runs is left alone, one that is missing is started. Afterwards: . PREFIX/env.sh
#
#   --no-accounting   no slurmdbd and no MariaDB: up in about half a second, and sacct does not work
#   --nodes LIST      other nodes, as NAME:GPUTYPE:COUNT separated by blanks; NAME:GPUTYPE:COUNT:CPUS:MEMORY where a node
#                     has others than 64 CPUs and 512000 MB; COUNT as 4+h200=2 where it has other types too; GPUTYPE - for none
#   --conf FILE       lines to append to slurm.conf
#   --owner PID       when this process ends, however it ends, the cluster is taken down and PREFIX deleted
#   --keep            with --owner: take it down, but keep PREFIX
#   --quiet           print nothing on success
#
# As root: daemons run as the users that Debian's packages made, jobs run as anyone, and the users alice and bob are made.
# As another user: every daemon and every job runs as that user. Slurm versions: 22.05 to 26.05.
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

accounting=1 nodes="a1:a100:8 h1:h100:8 h2:h200:8" extra_conf='' owner='' wipe=--wipe quiet=0 prefix=''
parse_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --no-accounting) accounting=0 ;;
      --nodes) nodes=$2; shift ;;
      --conf) extra_conf=$2; shift ;;
      --owner) owner=$2; shift ;;
      --keep) wipe='' ;;
      --quiet) quiet=1 ;;
      -h | --help) sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 0 ;;
      -*) die "unknown option: $1" ;;
      *) prefix=$1 ;;
    esac
    shift
  done
  [ -n "$prefix" ] || die "usage: up.sh [OPTIONS] PREFIX (see up.sh --help)"
  [ -z "$extra_conf" ] || [ -r "$extra_conf" ] || die "cannot read $extra_conf"
}

is_root() { [ "$(id -u)" = 0 ]; }
node_names() { local n; for n in $nodes; do echo "${n%%:*}"; done; }

# The GPUs of a node, one type and its count a line.
gpus_of() { # GPUTYPE COUNT
  local more
  echo "$1 ${2%%+*}"
  for more in $(tr + ' ' <<<"${2#"${2%%+*}"}"); do echo "${more%=*} ${more#*=}"; done
}
# The same as Slurm lists them: gpu:a100:4,gpu:h200:2
gres_of() { # GPUTYPE COUNT
  gpus_of "$1" "$2" | sed 's/^- //; s/ /:/; s/^/gpu:/' | paste -sd,
}

require_commands() {
  local command absent=()
  local wanted=(slurmctld slurmd sbatch munged munge setsid)
  if [ "$accounting" = 1 ]; then wanted+=(slurmdbd mariadbd mariadb-install-db mariadb); fi
  for command in "${wanted[@]}"; do
    command -v "$command" >/dev/null || absent+=("$command")
  done
  [ ${#absent[@]} = 0 ] || die "missing: ${absent[*]} (tests/cluster/deps.sh installs them)"
  version=$(slurmctld -V | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1)
  release=${version%.*}
  if [ "${version//[^.]/}" = . ]; then release=$version; fi
}

# Whether this Slurm is at least MAJOR.MINOR.
slurm_at_least() { [ "$(printf '%s\n' "$1" "$release" | sort -V | head -n 1)" = "$1" ]; }

# Which user each daemon runs as. Without root there is only one.
choose_users() {
  if is_root; then
    slurm_user=slurm munge_user=munge mysql_user=mysql
    getent passwd slurm >/dev/null || useradd -r -M -s /usr/sbin/nologin slurm
    local user
    for user in alice bob; do
      getent passwd "$user" >/dev/null || useradd -m -s /bin/bash "$user" || getent passwd "$user" >/dev/null
    done
  else
    slurm_user=$(id -un) munge_user=$slurm_user mysql_user=$slurm_user
  fi
}
# Runs a command as the given user when root, else as the caller.
as_user() { # USER COMMAND...
  local user=$1
  shift
  if is_root; then setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "$@"; else "$@"; fi
}
# The words that make a command run as that user; used where the pid must be the daemon's own.
run_as=()
set_run_as() { # USER
  run_as=()
  if is_root; then run_as=(setpriv --reuid="$1" --regid="$(id -g "$1")" --init-groups); fi
}

make_folders() {
  if [ -d "$P/run" ] && [ ! -e "$P/$MARKER" ]; then die "$P has another use already: choose an empty or a new folder"; fi
  mkdir -p "$P" || die "cannot make $P"
  : >"$P/$MARKER" || die "cannot write to $P"
  mkdir -p "$P"/{etc,run,log,state,spool,dev,munge,mysql,plugstack.d,work} || die "cannot write to $P"
  chmod 755 "$P" "$P"/{etc,run,log,dev,munge,plugstack.d}
  chmod 1777 "$P/work"
  if is_root; then
    chown "$slurm_user" "$P/state" "$P/log"
    chown "$munge_user" "$P/munge"
    chown "$mysql_user" "$P/mysql"
    as_user "$slurm_user" test -x "$P" || die "the user $slurm_user cannot enter $P: choose a folder that every user can reach"
  fi
  # A Unix socket's path has room for 107 characters; munge appends a suffix while it starts.
  [ ${#P} -le 85 ] || die "the path of $P is too long for Unix sockets: choose a shorter one"
}

# Starts a daemon in a session of its own and records it. Its output goes to log/NAME.out.
launch() { # NAME COMMAND...
  local name=$1
  shift
  if recorded "$name"; then return 0; fi
  owner_lives || die "the process $owner, for which this cluster was to start, has ended"
  setsid "$@" >>"$P/log/$name.out" 2>&1 </dev/null &
  local pid=$!
  local began
  began=$(start_time "$pid")
  echo "$pid ${began:-0}" >"$P/run/$name.proc"
  disown "$pid"
}
# Waits until a daemon answers; ends early when it has died.
ready() { # NAME LOG SECONDS COMMAND...
  local name=$1 log=$2 seconds=$3
  shift 3
  if wait_until "$seconds" answers_or_died "$name" "$@" && recorded "$name"; then return 0; fi
  [ -s "$log" ] || log=$P/log/$name.out
  # Another process took the port between the choice and the start: the caller chooses again.
  if grep -qsE 'Address already in use|slurm_init_msg_engine_port' "$log" "$P/log/$name.out"; then return 98; fi
  die "$name did not start within $seconds s" "$log"
}
answers_or_died() { # NAME COMMAND...
  recorded "$1" || return 0
  shift
  "$@"
}

start_munge() {
  if recorded munged; then return 0; fi
  local key=$P/munge/munge.key
  if [ ! -s "$key" ]; then
    (umask 077; head -c 128 /dev/urandom >"$key")
    if is_root; then chown "$munge_user" "$key"; fi
  fi
  rm -f "$P"/munge/munge.sock*
  set_run_as "$munge_user"
  # --force: the parents of a user's own folder may be group-writable, which munge otherwise refuses.
  launch munged "${run_as[@]}" munged -F --force --key-file="$key" --socket="$P/munge/munge.sock" --num-threads=2 \
    --log-file="$P/munge/munged.log" --pid-file="$P/munge/munged.pid" --seed-file="$P/munge/munged.seed"
  ready munged "$P/munge/munged.log" 15 munge -S "$P/munge/munge.sock" -n
}

# MariaDB listens on a socket only. The client library takes the socket's path from MYSQL_UNIX_PORT.
start_database() {
  if recorded mariadbd; then return 0; fi
  if [ ! -d "$P/mysql/data/mysql" ]; then
    mariadb-install-db --no-defaults --force --user="$mysql_user" --datadir="$P/mysql/data" --skip-test-db \
      --innodb-log-file-size=8M --auth-root-authentication-method=normal >"$P/log/mariadb-install.log" 2>&1 ||
      die "mariadb-install-db failed" "$P/log/mariadb-install.log"
  fi
  rm -f "$P/mysql/sock"
  launch mariadbd mariadbd --no-defaults --user="$mysql_user" --datadir="$P/mysql/data" --socket="$P/mysql/sock" \
    --pid-file="$P/mysql/pid" --skip-networking --innodb-buffer-pool-size=64M --innodb-log-file-size=8M \
    --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 --max-allowed-packet=16M --tmpdir="$P/mysql"
  ready mariadbd "$P/log/mariadbd.out" 60 sql 'select 1'
  sql "create user if not exists slurm@localhost identified by 'test'; grant all on slurm_acct.* to slurm@localhost"
}
sql() { mariadb --no-defaults --user=root --socket="$P/mysql/sock" -e "$1"; }

# Ports: a block of consecutive numbers below the range that the kernel hands out to clients, of which nobody listens to any.
choose_ports() { # COUNT
  local count=$1 tries=200 first
  local -A taken=()
  local line port
  while read -r line; do
    port=$((16#${line##*:}))
    taken[$port]=1
  done < <(awk '$4 == "0A" { print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  while ((tries-- > 0)); do
    first=$((20000 + (RANDOM * 32768 + RANDOM) % 700 * 17))
    for ((port = first; port < first + count; port++)); do
      [ -z "${taken[$port]:-}" ] || continue 2
    done
    echo "$first"
    return 0
  done
  die "found no block of $count free ports between 20000 and 32000"
}
# The ports of a cluster stay what they are while any of its daemons runs.
settle_ports() {
  local names=(slurmctld slurmdbd) name
  for name in $(node_names); do names+=("slurmd-$name"); done
  for name in "${names[@]}"; do
    if [ -s "$P/run/port" ] && recorded "$name"; then
      port0=$(<"$P/run/port")
      return 0
    fi
  done
  port0=$(choose_ports $((2 + $(wc -w <<<"$nodes")))) || exit
  echo "$port0" >"$P/run/port"
}

slurm_conf() {
  cat <<CONF
ClusterName=omnipilot
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$slurm_user
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$P/munge/munge.sock
CredType=cred/munge
SlurmctldPort=$port0
StateSaveLocation=$P/state
SlurmdSpoolDir=$P/spool/%n
SlurmctldPidFile=$P/state/slurmctld.pid
SlurmdPidFile=$P/run/slurmd-%n.pid
SlurmctldLogFile=$P/log/slurmctld.log
SlurmdLogFile=$P/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
PlugStackConfig=$P/etc/plugstack.conf
MailProg=/bin/true
# No cgroups and no real hardware: 64 processors and 500 GB are pretended on whatever machine this is.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# Without this a job takes the whole memory of a node, and the second one waits.
DefMemPerCPU=1024
KillWait=3
InactiveLimit=0
MinJobAge=600
SlurmctldTimeout=60
SlurmdTimeout=60
PropagateResourceLimits=NONE
GresTypes=gpu
CONF
  [ "$accounting" = 0 ] || accounting_conf
  local n name type count cpus memory i=2
  for n in $nodes; do
    IFS=: read -r name type count cpus memory <<<"$n"
    cpus=${cpus:-64}
    echo "NodeName=$name NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port0 + i)) CPUs=$cpus Boards=1 SocketsPerBoard=2" \
      "CoresPerSocket=$((cpus / 2)) ThreadsPerCore=1 RealMemory=${memory:-512000} Gres=$(gres_of "$type" "$count") Feature=${type/#-/none},gpu State=UNKNOWN"
    i=$((i + 1))
  done
  echo "PartitionName=serve Nodes=$(node_names | paste -sd,) Default=YES MaxTime=INFINITE State=UP"
  [ -z "$extra_conf" ] || cat "$extra_conf"
}
accounting_conf() {
  local flags=job_comment,job_env,job_script n type count
  if slurm_at_least 23.02; then flags+=,job_extra; fi
  cat <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port0 + 1))
# Clients of slurmdbd look here for munge's socket, not at AuthInfo.
AccountingStoragePass=$P/munge/munge.sock
AccountingStoreFlags=$flags
CONF
  printf 'AccountingStorageTRES=gres/gpu'
  for n in $nodes; do
    IFS=: read -r _ type count _ <<<"$n"
    gpus_of "$type" "$count" | sed '/^- /d; s/ .*//; s/^/,gres\/gpu:/' | tr -d '\n'
  done
  echo
}
# GPU devices are links to /dev/null, so that neither root nor hardware is needed.
gres_conf() {
  local n name first all type count g named
  for n in $nodes; do
    IFS=: read -r name first all _ <<<"$n"
    while read -r type count; do
      for ((g = 0; g < count; g++)); do ln -sfn /dev/null "$P/dev/$name-$type-$g"; done
      [ "$type" = - ] && named='' || named=" Type=$type"
      echo "NodeName=$name Name=gpu$named File=$P/dev/$name-$type-[0-$((count - 1))] AutoDetect=off"
    done < <(gpus_of "$first" "$all")
  done
}
slurmdbd_conf() {
  cat <<CONF
AuthType=auth/munge
AuthInfo=socket=$P/munge/munge.sock
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$((port0 + 1))
SlurmUser=$slurm_user
LogFile=$P/log/slurmdbd.log
PidFile=$P/state/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=test
StorageLoc=slurm_acct
CONF
}

# Writes the configuration; sets changed when slurm.conf is another than before.
write_configuration() {
  host=$(uname -n)
  host=${host%%.*}
  changed=0
  slurm_conf >"$SLURM_CONF.new"
  if cmp -s "$SLURM_CONF.new" "$SLURM_CONF"; then rm "$SLURM_CONF.new"; else mv "$SLURM_CONF.new" "$SLURM_CONF"; changed=1; fi
  gres_conf >"$P/etc/gres.conf"
  # Left to itself slurmd looks for a cgroup file system, which containers may not have; before 23.11 this cannot be switched off,
  # but version 1 touches nothing before a job is to be limited, and none is.
  if slurm_at_least 23.11; then echo CgroupPlugin=disabled; else echo CgroupPlugin=cgroup/v1; fi >"$P/etc/cgroup.conf"
  echo "include $P/plugstack.d/*.conf" >"$P/etc/plugstack.conf"
  echo "export SLURM_CONF=$SLURM_CONF" >"$P/env.sh"
  if [ "$accounting" = 1 ]; then
    (umask 077; slurmdbd_conf >"$P/etc/slurmdbd.conf")
    if is_root; then chown "$slurm_user" "$P/etc/slurmdbd.conf"; fi
  fi
}

start_slurmdbd() {
  set_run_as "$slurm_user"
  MYSQL_UNIX_PORT=$P/mysql/sock launch slurmdbd "${run_as[@]}" slurmdbd -D
  ready slurmdbd "$P/log/slurmdbd.log" 60 sacctmgr -n list cluster || return
  if ! sacctmgr -n list cluster format=cluster%20 | grep -qw omnipilot; then
    sacctmgr -i add cluster omnipilot >"$P/log/sacctmgr.out" 2>&1 || die "sacctmgr could not add the cluster" "$P/log/sacctmgr.out"
  fi
}
start_slurmctld() {
  if [ "$changed" = 1 ] && recorded slurmctld; then scontrol reconfigure || true; fi
  set_run_as "$slurm_user"
  launch slurmctld "${run_as[@]}" slurmctld -D
  ready slurmctld "$P/log/slurmctld.log" 30 controller_up
}
controller_up() { timeout 5 scontrol ping | grep -q 'is UP'; }
start_slurmds() {
  local name
  for name in $(node_names); do
    mkdir -p "$P/spool/$name"
    launch "slurmd-$name" slurmd -D -N "$name"
  done
  for name in $(node_names); do
    ready "slurmd-$name" "$P/log/slurmd-$name.log" 30 node_up "$name" || return
  done
}
node_up() { [[ $(timeout 5 sinfo -h -N -n "$1" -o %T) =~ ^(idle|mixed|allocated|completing)(\ |$|$'\n') ]]; }

# Everything that listens on a port; 98 means that a port was taken meanwhile.
start_slurm() {
  settle_ports
  write_configuration
  if [ "$accounting" = 1 ]; then start_slurmdbd || return; fi
  start_slurmctld || return
  start_slurmds
}
start_slurm_on_free_ports() {
  local attempt code
  for attempt in 1 2 3 4 5; do
    code=0
    start_slurm || code=$?
    [ "$code" != 0 ] || return 0
    [ "$code" = 98 ] || exit "$code"
    forget_slurm "$attempt"
  done
  die "five times a port was taken by another process while the cluster started"
}
forget_slurm() { # ATTEMPT
  local record name
  for record in "$P"/run/slurm*.proc; do
    name=${record##*/} name=${name%.proc}
    if recorded "$name"; then end_process "$pid" "$began" 2; fi
    rm -f "$record"
  done
  for record in "$P"/log/slurm*; do mv "$record" "$record.attempt$1"; done
}

# Without an owner nobody can be missed.
owner_lives() { [ -z "$owner" ] || same_process "$owner" "$owner_began"; }

# A process that waits for the owner's end, and then takes the cluster down.
start_watchdog() {
  if [ -z "$owner" ] || recorded watchdog; then return 0; fi
  launch watchdog "$HERE/watchdog.sh" "$owner" "$P" ${wipe:+"$wipe"}
}

summary() {
  [ "$quiet" = 0 ] || return 0
  local n list=
  for n in $nodes; do
    IFS=: read -r name type count _ <<<"$n"
    list+="${list:+, }$name ($count x $type)"
  done
  local accounts=", accounting"
  [ "$accounting" = 1 ] || accounts=", no accounting"
  local tenths=$((($(date +%s%N) - began_at) / 100000000))
  echo "Slurm $version is up after $((tenths / 10)).$((tenths % 10)) s: $list$accounts. Use it with: . $P/env.sh"
  is_root || echo "Not root: every daemon and job runs as $slurm_user, and no other users can submit."
}

# A start that fails half way leaves nothing running, and no folder if nobody is there to read its logs.
on_exit() {
  local code=$? delete=''
  owner_lives || delete=$wipe
  if [ "$code" != 0 ] && [ -d "$P/run" ]; then "$HERE/down.sh" --quiet ${delete:+"$delete"} "$P" || true; fi
  exit "$code"
}

main() {
  began_at=$(date +%s%N)
  parse_arguments "$@"
  use_prefix "$prefix"
  owner_began=
  if [ -n "$owner" ]; then owner_began=$(start_time "$owner"); fi
  require_commands
  choose_users
  make_folders
  trap on_exit EXIT
  trap 'exit 130' INT TERM
  start_watchdog
  start_munge
  if [ "$accounting" = 1 ]; then start_database; fi
  start_slurm_on_free_ports
  summary
}
main "$@"
