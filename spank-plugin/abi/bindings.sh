#!/usr/bin/env bash
# bindings.sh: makes src/v*.rs anew from Slurm's own headers, and shows what changed. It asks apt, as root.
#
#   bindings.sh FOLDER     packages and headers are kept below it
#
# spank.h comes from Debian's package libslurm-dev; slurm_opt.h, which no package installs, from the source package, where its
# mirror has it. bindgen and libclang are Debian's, and needed for this alone.
#   OMNIPILOT_DEBIAN_MIRROR   where the packages come from (default http://deb.debian.org/debian)
set -euo pipefail

MIRROR=${OMNIPILOT_DEBIAN_MIRROR:-http://deb.debian.org/debian}
HERE=$(cd "$(dirname "$0")" && pwd)
SUITES=(bookworm:v22_05 trixie:v24_11 sid:v26_05)

die() { echo "bindings.sh: $1" >&2; exit 3; }

FOLDER=${1:?where packages are kept}
command -v bindgen >/dev/null || die "bindgen is missing: apt-get install bindgen libclang1"
mkdir -p "$FOLDER"
FOLDER=$(cd "$FOLDER" && pwd)

# What apt knows of one suite, apart from what this machine's apt knows.
apt_of() { # SUITE COMMAND...
  local root=$FOLDER/$1
  shift
  apt-get -qq -o Dir::Etc::sourcelist="$root/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::lists="$root/lists" -o Dir::Cache="$root/cache" -o APT::Sandbox::User=root "$@"
}

# A no-op where it was done before: delete the folder to ask again.
fetch() { # SUITE
  local root=$FOLDER/$1 signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
  [ ! -e "$root/headers/usr/include/slurm/spank.h" ] || return 0
  mkdir -p "$root"/{lists/partial,cache/archives/partial,source,headers}
  printf '%s\n' "deb $signed $MIRROR $1 main" "deb-src $signed $MIRROR $1 main" >"$root/sources.list"
  apt_of "$1" update
  rm -f "$root"/*.deb
  (cd "$root" && apt_of "$1" download libslurm-dev && dpkg -x libslurm-dev_*.deb headers)
  # A mirror may have lost a part of it; the upstream archive is what counts.
  (cd "$root" && apt_of "$1" source --download-only slurm-wlm) >/dev/null 2>&1 || true
  for archive in "$root"/slurm-wlm_*.orig.tar.*; do
    [ -e "$archive" ] || continue
    tar xf "$archive" -C "$root/source" --strip-components=1
    : >"$root/source/config.h"
  done
}

bindings() { # SUITE
  local root=$FOLDER/$1
  echo '#include <slurm/spank.h>' >"$root/all.h"
  echo 'long slurm_api_version(void);' >>"$root/all.h"
  if [ -e "$root/source/src/common/slurm_opt.h" ]; then
    echo '#include "src/common/slurm_opt.h"' >>"$root/all.h"
  else
    echo "bindings.sh: $1: no source package, so nothing of slurm_opt.h" >&2
  fi
  bindgen "$root/all.h" --no-doc-comments --ctypes-prefix core::ffi \
    --allowlist-function 'spank_context|spank_option_register|slurm_(info|error|api_version)|slurm_option_(get|set|isset|reset)' \
    --allowlist-type 'spank_option|spank_context|spank_context_t|spank_opt_cb_f' --no-recursive-allowlist \
    --raw-line 'use super::{slurm_opt_t, spank_err_t, spank_t};' \
    -- -I "$root/headers/usr/include" -I "$root/source" -isystem "$(gcc -print-file-name=include)" -DHAVE_CONFIG_H
}

for one in "${SUITES[@]}"; do
  fetch "${one%:*}" || die "the packages of ${one%:*} cannot be had"
  bindings "${one%:*}" >"$FOLDER/new.rs"
  rustfmt --edition 2021 "$FOLDER/new.rs"
  mv "$FOLDER/new.rs" "$HERE/src/${one#*:}.rs"
done
git -C "$HERE" --no-pager diff --stat --exit-code -- src
