#!/usr/bin/env bash
# install.sh: puts what was built into place, or takes it away again. `make install` and `make uninstall` call it.
#
#   install.sh install | uninstall
#
# From the environment:
#   DESTDIR            put before every path, for packagers (default nothing)
#   PREFIX             (default /usr)
#   SLURM_PLUGIN_DIR   folder of the plugin and its library (default PREFIX/lib/slurm; any will do, plugstack.conf names the file)
#   OMNIPILOT_PLUGIN, OMNIPILOT_ADVISOR, OMNIPILOT_BIN   what was built
#
# Nothing is switched on and no daemon is restarted: Slurm reads plugstack.conf afresh at each submission, so the line in the
# example does that, once it stands in /etc/slurm/plugstack.conf.d. Configuration, store and spool are never touched.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DESTDIR=${DESTDIR:-}
PREFIX=${PREFIX:-/usr}
SLURM_PLUGIN_DIR=${SLURM_PLUGIN_DIR:-$PREFIX/lib/slurm}
EXAMPLES=$PREFIX/share/doc/omnipilot/examples
PLUGIN=$SLURM_PLUGIN_DIR/spank_omnipilot.so
ADVISOR=$SLURM_PLUGIN_DIR/omnipilot_advisor.so
COMMAND=$PREFIX/bin/omnipilot

die() {
  echo "install.sh: $*" >&2
  exit 1
}

# By a rename: whoever submits meanwhile loads the old file or the new one, never half of one.
put() { # MODE FROM TO
  local to=$DESTDIR$3
  install -d -m 755 "$(dirname "$to")"
  install -m "$1" "$2" "$to.new"
  mv -f "$to.new" "$to"
  echo "$to"
}

# The example's line with the place where the plugin really is.
plugstack_example() { sed "s|^optional [^ ]*|optional $PLUGIN|" "$ROOT/etc/plugstack.conf.d/omnipilot.conf"; }

install_all() {
  local file
  for file in "$OMNIPILOT_PLUGIN" "$OMNIPILOT_ADVISOR" "$OMNIPILOT_BIN"; do
    [ -e "$file" ] || die "$file is not built: run \`make build\` first, as yourself"
  done
  put 755 "$OMNIPILOT_BIN" "$COMMAND"
  # Where one of the two is of another release, a tagged job goes as written, with a line.
  put 755 "$OMNIPILOT_ADVISOR" "$ADVISOR"
  put 755 "$OMNIPILOT_PLUGIN" "$PLUGIN"
  put 644 "$ROOT/etc/omnipilot.toml" "$EXAMPLES/omnipilot.toml"
  put 644 "$ROOT/etc/job_submit.lua" "$EXAMPLES/job_submit.lua"
  put 644 "$ROOT/etc/cli_filter.lua" "$EXAMPLES/cli_filter.lua"
  for file in "$ROOT"/etc/systemd/*; do
    put 644 <(sed "s|/usr/bin/omnipilot|$COMMAND|" "$file") "$EXAMPLES/systemd/${file##*/}"
  done
  put 644 <(plugstack_example) "$EXAMPLES/plugstack.conf.d/omnipilot.conf"
}

uninstall_all() {
  local entry=$DESTDIR/etc/slurm/plugstack.conf.d/omnipilot.conf
  if [ -e "$entry" ]; then
    die "$entry still loads the plugin; without the file every sbatch would complain. Remove that entry first"
  fi
  rm -f "$DESTDIR$COMMAND" "$DESTDIR$PLUGIN" "$DESTDIR$ADVISOR"
  rm -f "$DESTDIR$EXAMPLES"/{omnipilot.toml,job_submit.lua,cli_filter.lua} "$DESTDIR$EXAMPLES/plugstack.conf.d/omnipilot.conf"
  rm -f "$DESTDIR$EXAMPLES"/systemd/omnipilot-*.{service,timer}
  rmdir --ignore-fail-on-non-empty "$DESTDIR$EXAMPLES/systemd" "$DESTDIR$EXAMPLES/plugstack.conf.d" "$DESTDIR$EXAMPLES" "${DESTDIR}${EXAMPLES%/*}" 2>/dev/null || true
  echo "removed; /etc/omnipilot, the store and the spool are left as they are"
}

case ${1:-} in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) die "usage: install.sh install | uninstall" ;;
esac
