# shellcheck shell=bash
# stage.sh: what demo.sh and bench.sh share: a folder, a cluster, the plugin in it. To be sourced.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${OMNIPILOT_PLUGIN:=$ROOT/target/plugin/libspank_omnipilot.so}"
: "${OMNIPILOT_ADVISOR:=$ROOT/target/release/libomnipilot_advisor.so}"
: "${OMNIPILOT_BIN:=$ROOT/target/release/omnipilot}"
: "${OMNIPILOT_STANDIN:=$ROOT/target/release/standin-engine}"

# Daemons live in sbin, which is not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin

is_root() { [ "$(id -u)" = 0 ]; }

# The folder that holds everything: in the checkout, or in /var/tmp where other users cannot reach the checkout (as in /root).
choose_folder() { # NAME
  PREFIX=$ROOT/$1
  if { is_root && ! reachable "$ROOT"; } || [ ${#PREFIX} -gt 85 ]; then PREFIX=/var/tmp/omnipilot-$1-$(id -u); fi
  delete_folder "$PREFIX"
  mkdir -p "$PREFIX"
}
delete_folder() { # FOLDER
  "$ROOT/tests/cluster/down.sh" --wipe --quiet "$1"
  rm -rf "$1"
}
reachable() { setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$1"; }

built() {
  local file
  for file in "$OMNIPILOT_PLUGIN" "$OMNIPILOT_ADVISOR" "$OMNIPILOT_BIN" "$OMNIPILOT_STANDIN"; do
    [ -e "$file" ] || { echo "$file is not built: run \`make build\` first" >&2; exit 1; }
  done
}

# Starts the cluster; falls back to one without accounting where slurmdbd or MariaDB is missing.
start_cluster() {
  local options=(--owner $$ --keep)
  if ! command -v slurmdbd >/dev/null || ! command -v mariadbd >/dev/null; then
    options+=(--no-accounting)
    echo "slurmdbd or MariaDB is missing: this Slurm runs without accounting, so \`omnipilot ingest\` has no sacct to compare with."
  fi
  "$ROOT/tests/cluster/up.sh" "${options[@]}" "$PREFIX"
  export SLURM_CONF=$PREFIX/etc/slurm.conf
}

# Copies what was built to where every user of the cluster can read it. The engine is the stand-in under vLLM's name, because
# `omnipilot run -- vllm serve` is what users type.
install_product() {
  mkdir -p "$PREFIX"/{bin,lib,omnipilot/spool}
  chmod 1777 "$PREFIX/omnipilot/spool"
  install -m 755 "$OMNIPILOT_PLUGIN" "$PREFIX/lib/spank_omnipilot.so"
  install -m 755 "$OMNIPILOT_ADVISOR" "$PREFIX/lib/omnipilot_advisor.so"
  install -m 755 "$OMNIPILOT_BIN" "$PREFIX/bin/omnipilot"
  install -m 755 "$OMNIPILOT_STANDIN" "$PREFIX/bin/standin-engine"
  cat >"$PREFIX/bin/vllm" <<STANDIN
#!/bin/sh
# A stand-in for vLLM. It ends by itself after a while, and pretends that this site's H100 deliver less than was published,
# so that there is something to learn.
export STANDIN_STOP_AFTER_S=${STANDIN_STOP_AFTER_S:-12}
[ "\$SLURM_LLM_GPU" != h100 ] || export STANDIN_TOK_S=520
# Serving for seconds only, it is measured at shorter intervals than a real engine would be.
exec standin-engine "\$@"
STANDIN
  chmod 755 "$PREFIX/bin/vllm"
  CONFIG=$PREFIX/etc/omnipilot.toml
  cat >"$CONFIG" <<CONF
store = "$PREFIX/omnipilot/store.db"
snapshot = "$PREFIX/omnipilot/published.snapshot"
spool = "$PREFIX/omnipilot/spool"
CONF
  export PATH=$PREFIX/bin:$PATH OMNIPILOT_CONFIG=$CONFIG
}

# The one line that puts the plugin into Slurm.
plugstack_line() { echo "optional $PREFIX/lib/spank_omnipilot.so config=$CONFIG"; }

# Runs a command as a user, in that user's folder of the cluster, with an environment as after a login.
as_user() { # USER COMMAND...
  local user=$1
  shift
  local change=()
  if is_root; then change=(setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups); else user=$(id -un); fi
  local home=$PREFIX/work/$user
  if [ ! -d "$home" ]; then
    mkdir -p "$home"
    if is_root; then chown "$user:" "$home"; fi
  fi
  (cd "$home" && exec env -i PATH="$PATH" HOME="$home" USER="$user" SHELL=/bin/bash LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" \
    SLURM_CONF="$SLURM_CONF" OMNIPILOT_CONFIG="$CONFIG" "${change[@]}" "$@")
}
