#!/usr/bin/env bash
# prometheus.sh FOLDER: Debian's Prometheus, promtool and node_exporter in FOLDER (24 MB to fetch, 110 MB there), for the test of the
# page of metrics and of the dashboard. Nothing is installed, and nobody needs to be root.
#
# A no-op when it is there. Where it cannot be had one line says so, and the test is listed as ignored with that reason.
set -euo pipefail

folder=${1:?usage: prometheus.sh FOLDER}
[ ! -e "$folder/ready" ] || exit 0

skip() {
  rm -rf -- "$folder"
  echo "skipped: the test with Prometheus ($1)"
  exit 0
}

for tool in apt-get dpkg-deb; do
  command -v "$tool" >/dev/null || skip "$tool is missing: this is no Debian"
done
rm -rf -- "$folder"
mkdir -p "$folder/root"
fetch() { (cd "$folder" && timeout 120 apt-get download -qq prometheus prometheus-node-exporter) >"$folder/log" 2>&1; }
# A machine that never asked for the lists of packages knows none; only root can ask for them.
fetch || { [ "$(id -u)" = 0 ] && apt-get update -qq >/dev/null 2>&1 && fetch; } ||
  skip "its packages cannot be fetched; \`apt-get update\` may help"
for package in "$folder"/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder/root" --wildcards './usr/bin/*'
done
mv "$folder"/root/usr/bin/* "$folder/"
rm -rf -- "$folder/root" "$folder"/*.deb "$folder/log"
"$folder/promtool" --version >/dev/null 2>&1 || skip "it does not start"
touch "$folder/ready"
