#!/usr/bin/env bash
# install.sh: puts what was built into place, or takes it away again. `make install` and `make uninstall` call it.
#
#   install.sh install | uninstall
#
# From the environment:
#   DESTDIR            put before every path, for packagers (default nothing)
#   PREFIX             (default /usr)
#   SLURM_PLUGIN_DIR   folder of the plugin and its library (default PREFIX/lib/slurm; any will do, plugstack.conf names the file)
#   SYSTEMD_DIR        folder of the units (default beside the examples, where systemd does not see them)
#   ZSH_DIR            folder of the completion for zsh (default PREFIX/share/zsh/site-functions)
#   OMNIPILOT_PLUGIN, OMNIPILOT_ADVISOR, OMNIPILOT_BIN, OMNIPILOT_PUBLIC   what was built
#
# Nothing is switched on and no daemon is restarted: `omnipilot setup` does the rest, and Slurm reads plugstack.conf afresh at
# each submission. Configuration, store and spool are never touched.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DESTDIR=${DESTDIR:-}
PREFIX=${PREFIX:-/usr}
SLURM_PLUGIN_DIR=${SLURM_PLUGIN_DIR:-$PREFIX/lib/slurm}
EXAMPLES=$PREFIX/share/doc/omnipilot/examples
SYSTEMD_DIR=${SYSTEMD_DIR:-$EXAMPLES/systemd}
ZSH_DIR=${ZSH_DIR:-$PREFIX/share/zsh/site-functions}
OMNIPILOT_PUBLIC=${OMNIPILOT_PUBLIC:-$(dirname "${OMNIPILOT_BIN:-.}")/public.snapshot}
COMMAND=$PREFIX/bin/omnipilot
PLUGIN=$SLURM_PLUGIN_DIR/spank_omnipilot.so
ADVISOR=$SLURM_PLUGIN_DIR/omnipilot_advisor.so
# What `uninstall` takes away: one path a line.
INSTALLED=$PREFIX/share/omnipilot/installed

die() {
  echo "install.sh: $*" >&2
  exit 1
}

# The one list of what is installed: MODE FROM TO. Man pages and completions are made by the command itself.
files() { # GENERATED
  local generated=$1 file
  echo "755 $OMNIPILOT_BIN $COMMAND"
  # What `advise --gpus` answers from where no site is configured.
  echo "644 $OMNIPILOT_PUBLIC $PREFIX/share/omnipilot/public.snapshot"
  # Where one of the two is of another release, a tagged job goes as written, with a line.
  echo "755 $OMNIPILOT_ADVISOR $ADVISOR"
  echo "755 $OMNIPILOT_PLUGIN $PLUGIN"
  for file in omnipilot.toml train.sbatch job_submit.lua plugstack.conf.d/omnipilot.conf; do
    echo "644 $ROOT/etc/$file $EXAMPLES/$file"
  done
  for file in grafana/omnipilot.json ondemand/{manifest.yml,form.yml,submit.yml.erb,view.html.erb,template/{before,after}.sh.erb}; do
    echo "644 $ROOT/etc/$file $EXAMPLES/$file"
  done
  # The portal starts it as a program.
  echo "755 $ROOT/etc/ondemand/template/script.sh.erb $EXAMPLES/ondemand/template/script.sh.erb"
  for file in "$ROOT"/etc/systemd/*; do
    echo "644 $file $SYSTEMD_DIR/${file##*/}"
  done
  for file in "$generated"/man/*/*; do
    echo "644 $file $PREFIX/share/${file#"$generated"/}"
  done
  echo "644 $generated/completions/bash/omnipilot $PREFIX/share/bash-completion/completions/omnipilot"
  echo "644 $generated/completions/zsh/_omnipilot $ZSH_DIR/_omnipilot"
  echo "644 $generated/completions/fish/omnipilot.fish $PREFIX/share/fish/vendor_completions.d/omnipilot.fish"
}

# Text with the places where command and plugin really are.
placed() { # FILE
  case $1 in
    */plugstack.conf.d/*) sed "s|^optional [^ ]*|optional $PLUGIN|" "$1" ;;
    */systemd/*) sed "s|/usr/bin/omnipilot|$COMMAND|" "$1" ;;
    *) cat "$1" ;;
  esac
}

# By a rename: whoever submits meanwhile loads the old file or the new one, never half of one.
put() { # MODE FROM TO
  local to=$DESTDIR$3
  install -d -m 755 "$(dirname "$to")"
  placed "$2" >"$to.new"
  chmod "$1" "$to.new"
  mv -f "$to.new" "$to"
  echo "$to"
}

install_all() {
  local file mode from to generated list
  for file in "$OMNIPILOT_PLUGIN" "$OMNIPILOT_ADVISOR" "$OMNIPILOT_BIN" "$OMNIPILOT_PUBLIC"; do
    [ -e "$file" ] || die "$file is not built: run \`make build\` first, as yourself"
  done
  umask 022
  generated=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$generated'" EXIT
  "$OMNIPILOT_BIN" generate "$generated" >/dev/null || die "$OMNIPILOT_BIN cannot make the man pages"
  list=$(files "$generated")
  while read -r mode from to; do
    put "$mode" "$from" "$to"
  done <<<"$list"
  install -d -m 755 "$(dirname "$DESTDIR$INSTALLED")"
  awk '{ print $3 }' <<<"$list" >"$DESTDIR$INSTALLED"
  chmod 644 "$DESTDIR$INSTALLED"
}

uninstall_all() {
  local entry=$DESTDIR/etc/slurm/plugstack.conf.d/omnipilot.conf file
  if [ -e "$entry" ] && grep -q '^[^#]*spank_omnipilot' "$entry"; then
    die "$entry still loads the plugin; without the file every sbatch would complain. Run \`omnipilot setup --disable\` first"
  fi
  [ -e "$DESTDIR$INSTALLED" ] || die "nothing was installed here by \`make install\`: $DESTDIR$INSTALLED is missing"
  while read -r file; do
    rm -f "$DESTDIR$file"
    rmdir --ignore-fail-on-non-empty "$(dirname "$DESTDIR$file")" 2>/dev/null || true
  done <"$DESTDIR$INSTALLED"
  rm -f "$DESTDIR$INSTALLED"
  for file in "${INSTALLED%/*}" "$EXAMPLES" "${EXAMPLES%/*}"; do
    rmdir --ignore-fail-on-non-empty "$DESTDIR$file" 2>/dev/null || true
  done
  echo "removed; /etc/omnipilot, the store and the spool are left as they are"
}

case ${1:-} in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) die "usage: install.sh install | uninstall" ;;
esac
