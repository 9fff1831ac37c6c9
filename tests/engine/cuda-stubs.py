"""Stand-ins for the CUDA libraries that PyPI's torch is linked against, so that it is imported where there is no GPU and no nvidia-* package.

usage: cuda-stubs.py SITE_PACKAGES        (needs gcc and readelf)

Writes one library a soname beside torch's own; every function returns 0, so torch works on the CPU alone. A libcudart that is a link stays.
"""

import collections
import os
import re
import subprocess
import sys
import tempfile

LIB = sys.argv[1] + "/torch/lib"
CUDA = re.compile(r"^lib(cu|nv|nccl)")
SYSTEM = re.compile(r"^(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux.*|libgomp)\.so")
NAMES = re.compile(r"^(cu|nv|nccl|__cuda|cufile|cuFile|NV)")


def read(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def main():
    for name in os.listdir(LIB):
        if CUDA.match(name) and not os.path.islink(f"{LIB}/{name}"):
            os.unlink(f"{LIB}/{name}")
    own = set(os.listdir(LIB))
    missing, versions = set(), collections.defaultdict(set)
    undefined, defined = set(), set()
    for path in (os.path.join(LIB, name) for name in own if ".so" in name):
        for name in re.findall(r"NEEDED.*\[(.*)\]", read("readelf", "-dW", path)):
            if name not in own and not SYSTEM.match(name):
                missing.add(name)
        current = None
        for line in read("readelf", "-VW", path).splitlines():
            if found := re.search(r"Version: 1  File: (\S+)", line):
                current = found.group(1)
            if (found := re.search(r"Name: (\S+)  Flags", line)) and current:
                versions[current].add(found.group(1))
        for line in read("readelf", "--dyn-syms", "-W", path).splitlines():
            cells = line.split()
            if len(cells) < 8 or cells[4] not in ("GLOBAL", "WEAK"):
                continue
            name, _, version = cells[7].partition("@")
            if cells[6] != "UND":
                defined.add(name)
            elif cells[4] == "GLOBAL":
                undefined.add((name, version.lstrip("@")))
    plain = sorted(n for n, v in undefined if not v and n not in defined and NAMES.match(n))
    for soname in sorted(missing):
        stub(soname, sorted(versions[soname]), undefined, plain)


def stub(soname, versions, undefined, plain):
    by_version = {v: sorted(n for n, w in undefined if w == v) for v in versions}
    names = sorted(set(plain).union(*by_version.values())) if by_version else plain
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/stub.c", "w", encoding="ascii") as file:
            file.writelines(f"int {name}(void) {{ return 0; }}\n" for name in names)
        script = "".join(
            f"{v} {{ global: {' '.join(n + ';' for n in by_version[v])} }};\n" if by_version[v] else f"{v} {{ }};\n"
            for v in versions
        )
        command = ["gcc", "-w", "-O0", "-fno-builtin", "-shared", "-fPIC", f"-Wl,-soname,{soname}"]
        if script:
            with open(folder + "/stub.map", "w", encoding="ascii") as file:
                file.write(script)
            command.append(f"-Wl,--version-script,{folder}/stub.map")
        subprocess.check_call([*command, "-o", f"{LIB}/{soname}", folder + "/stub.c"])


main()
