#!/usr/bin/env bash
# packages.sh: a .deb and an .rpm of what was built, in target/packages. `make packages` calls it.
#
#   packages.sh [deb] [rpm]     (default: whatever this machine has the tools for)
#
# One package fits every Slurm from 22.05 on. The same sources give the same bytes: every time in a package is that of the last
# commit, or SOURCE_DATE_EPOCH. From the environment: OMNIPILOT_PLUGIN, OMNIPILOT_ADVISOR, OMNIPILOT_BIN (what was built), TARGET (folder).
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${TARGET:-$ROOT/target}
OUT=$TARGET/packages
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$ROOT" log -1 --format=%ct 2>/dev/null || stat -c %Y "$ROOT/Cargo.toml")}
export SOURCE_DATE_EPOCH

die() {
  echo "packages.sh: $*" >&2
  exit 1
}

# What `make install` installs, with the units where systemd sees them and the manual compressed.
stage() { # FOLDER SLURM_PLUGIN_DIR ZSH_DIR
  rm -rf "$1"
  DESTDIR=$1 PREFIX=/usr SLURM_PLUGIN_DIR=$2 ZSH_DIR=$3 SYSTEMD_DIR=/usr/lib/systemd/system "$ROOT/packaging/install.sh" install >/dev/null
  rm -f "$1/usr/share/omnipilot/installed"
  find "$1/usr/share/man" -type f -exec gzip -9n {} +
  strip --strip-unneeded "$1/usr/bin/omnipilot" "$1$2"/*.so 2>/dev/null || true
  install -D -m 644 "$ROOT/CHANGELOG.md" "$1/usr/share/doc/omnipilot/CHANGELOG.md"
  install -m 644 "$ROOT/README.md" "$ROOT/SECURITY.md" "$1/usr/share/doc/omnipilot/"
}

# The newest symbol version of the C library that the binaries use, as in 2.34.
libc_needed() { # FILES
  grep -aohE 'GLIBC_2\.[0-9]+' "$@" | sed 's/GLIBC_//' | sort -V | tail -n 1
}

build_deb() {
  local arch folder package
  arch=$(dpkg --print-architecture)
  folder=$OUT/deb package=$OUT/omnipilot_${VERSION}_$arch.deb
  stage "$folder" /usr/lib/slurm /usr/share/zsh/vendor-completions
  install -D -m 644 "$ROOT/packaging/deb/copyright" "$folder/usr/share/doc/omnipilot/copyright"
  # Debian's own form of a changelog, which is about the package.
  printf 'omnipilot (%s) unstable; urgency=medium\n\n  * What has changed: CHANGELOG.md.\n\n -- %s  %s\n' "$VERSION" \
    "$(sed -n 's/^Maintainer: //p' "$ROOT/packaging/deb/control")" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" |
    gzip -9n >"$folder/usr/share/doc/omnipilot/changelog.gz"
  install -d -m 755 "$folder/DEBIAN"
  sed -e "s/@VERSION@/$VERSION/" -e "s/@ARCH@/$arch/" \
    -e "s/@LIBC@/$(libc_needed "$folder/usr/bin/omnipilot" "$folder"/usr/lib/slurm/*.so)/" \
    -e "s/@SIZE@/$(du -sk --apparent-size "$folder/usr" | cut -f 1)/" \
    "$ROOT/packaging/deb/control" >"$folder/DEBIAN/control"
  local script
  for script in postinst prerm postrm; do
    install -m 755 "$ROOT/packaging/deb/$script" "$folder/DEBIAN/$script"
  done
  (cd "$folder" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
  # Older than the commit is nothing: dpkg-deb brings times down to SOURCE_DATE_EPOCH, and never up.
  find "$folder" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Zgzip --build "$folder" "$package" >/dev/null
  rm -rf "$folder"
  echo "$package"
}

build_rpm() {
  local top=$OUT/rpmbuild
  rm -rf "$top"
  # Where Slurm's plugins and zsh's functions lie in distributions with RPM, all of which keep 64-bit libraries in lib64.
  stage "$top/stage" /usr/lib64/slurm /usr/share/zsh/site-functions
  install -D -m 644 "$ROOT/packaging/rpm/sysusers.conf" "$top/stage/usr/lib/sysusers.d/omnipilot.conf"
  install -D -m 644 "$ROOT/LICENSE" "$top/stage/usr/share/licenses/omnipilot/LICENSE"
  rpmbuild -bb --quiet --define "_topdir $top" --define "stage $top/stage" --define "version $VERSION" \
    --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
    --define "_buildhost localhost" --buildroot "$top/root" "$ROOT/packaging/rpm/omnipilot.spec" >"$top/log" 2>&1 ||
    { cat "$top/log" >&2; die "rpmbuild failed"; }
  local made
  made=$(find "$top/RPMS" -name '*.rpm')
  mv "$made" "$OUT/"
  rm -rf "$top"
  echo "$OUT/$(basename "$made")"
}

main() {
  local kinds=("$@") kind
  mkdir -p "$OUT"
  if [ ${#kinds[@]} = 0 ]; then
    if command -v dpkg-deb >/dev/null; then kinds+=(deb); else echo "no .deb: dpkg-deb is not installed"; fi
    if command -v rpmbuild >/dev/null; then kinds+=(rpm); else echo "no .rpm: rpmbuild is not installed (Debian's package rpm)"; fi
  fi
  for kind in "${kinds[@]}"; do
    case $kind in
      deb) build_deb ;;
      rpm) build_rpm ;;
      *) die "usage: packages.sh [deb] [rpm]" ;;
    esac
  done
}
main "$@"
