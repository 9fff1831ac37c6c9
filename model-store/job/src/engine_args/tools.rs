//! Programs that are no engines, and modules and libraries of Python that need none.

/// Programs that use no GPU, or only look at it.
const TOOLS: &str = "
    [ addgroup alias apt apt-get ar arch awk aws az b2sum base32 base64 basename bc bunzip2 bzip2 c++
    cal cat cc chgrp chmod chown cksum clear cmake cmp column comm cp cryptsetup csplit curl
    cut date dc dd deactivate df diff dig dircolors dirname dmesg dnf dos2unix du echo ed egrep 
    expand expr factor fgrep file find findmnt fmt fold free fuser g++ gawk gcc gcloud getconf getent git
    git-lfs go gpg grep groups gsutil gunzip gzip hash head hexdump hf hg host hostid hostname htop
    huggingface-cli iconv id ifconfig info install iostat ip ipcs jobs join jq kill killall last ldconfig
    ldd less litellm ln locale locate logger logname logout look ls lsb_release lsblk lscpu lsmem lsof lspci
    lustre lfs lzma man md5sum mkdir mkfifo mknod mktemp ml modinfo module more mount mpstat mv
    nc ncat netcat netstat ngrok nl nproc nslookup numfmt nvcc nvidia-smi nvidia-cuda-mps-control nvtop
    od openssl patch paste pathchk pgrep pidof ping pip pip3 pkill pmap pr printenv printf ps pstree
    purge pwd pwgen quota rclone readelf readlink realpath rename renice reset rev rg rm rmdir rocm-smi
    rpm rsync sacct sacctmgr sattach sbatch sbcast scancel scontrol scp sdiff sed seq sftp
    sgather sha1sum sha256sum sha512sum shred shuf sinfo sleep sort spack split sprio squeue sreport
    sshare ssh-keygen ssh-keyscan sstat stat strings stty sum swapon sync sysctl tac tail tar tee test
    top touch tput tr tree truncate tsort tty umount unalias uname unexpand uniq unix2dos unlink unset
    unxz unzip uptime users uuidgen vdir vllm-router vmstat w wait-for-it wait-for-it.sh wc wget whereis which who
    whoami xxd xz yes yq zcat zip zstd sglang-router nginx caddy haproxy redis-server
    redis-cli etcd etcdctl nats-server prometheus grafana-server node_exporter dcgm-exporter cloudflared
    frpc autossh module-info lscgroup loginctl busctl vi vim nano emacs dcgmi nvidia-settings nvidia-persistenced genai-perf aiperf guidellm
    locust wrk wrk2 hey ab k6 oha omnipilot aria2c s5cmd tensorboard
    sudoedit ethtool ibstat ibv_devinfo ibdev2netdev rdma opensm numastat lstopo hwloc-ls lstopo-no-graphics
";

/// Programs of which some words are no engines: with these words behind them they are none.
pub(super) const QUIET: [(&str, &[&str]); 18] = [
    (
        "vllm",
        &[
            "bench",
            "chat",
            "complete",
            "collect-env",
            "--version",
            "--help",
        ],
    ),
    (
        "ollama",
        &[
            "run", "pull", "list", "ls", "ps", "show", "stop", "rm", "create", "cp", "push",
        ],
    ),
    (
        "ray",
        &["status", "stop", "start", "list", "summary", "--version"],
    ),
    (
        "conda",
        &[
            "shell",
            "shell.bash",
            "shell.posix",
            "shell.zsh",
            "activate",
            "deactivate",
            "env",
            "install",
            "create",
            "list",
            "info",
            "init",
        ],
    ),
    (
        "mamba",
        &[
            "shell",
            "shell.bash",
            "shell.posix",
            "shell.zsh",
            "activate",
            "deactivate",
            "env",
            "install",
            "create",
            "list",
            "info",
            "init",
        ],
    ),
    (
        "micromamba",
        &[
            "shell",
            "shell.bash",
            "shell.posix",
            "shell.zsh",
            "activate",
            "deactivate",
            "env",
            "install",
            "create",
            "list",
            "info",
        ],
    ),
    (
        "uv",
        &[
            "pip",
            "sync",
            "venv",
            "add",
            "lock",
            "python",
            "tool",
            "--version",
            "cache",
        ],
    ),
    ("crontab", &["-l", "-r"]),
    (
        "systemctl",
        &["status", "show", "is-active", "list-units", "--version"],
    ),
    ("smg", &["launch", "--version"]),
    (
        "wandb",
        &[
            "login",
            "online",
            "offline",
            "sync",
            "init",
            "status",
            "--version",
        ],
    ),
    ("poetry", &["install", "env", "lock", "add", "update"]),
    (
        "docker",
        &[
            "pull",
            "ps",
            "images",
            "stop",
            "rm",
            "logs",
            "login",
            "inspect",
            "build",
            "kill",
            "load",
            "info",
            "network",
            "volume",
            "version",
            "--version",
        ],
    ),
    (
        "podman",
        &[
            "pull",
            "ps",
            "images",
            "stop",
            "rm",
            "logs",
            "login",
            "inspect",
            "build",
            "kill",
            "load",
            "info",
            "network",
            "volume",
            "version",
            "--version",
        ],
    ),
    (
        "apptainer",
        &[
            "pull",
            "build",
            "inspect",
            "cache",
            "--version",
            "version",
            "overlay",
            "verify",
        ],
    ),
    (
        "singularity",
        &[
            "pull",
            "build",
            "inspect",
            "cache",
            "--version",
            "version",
            "overlay",
            "verify",
        ],
    ),
    (
        "enroot",
        &["import", "create", "list", "remove", "version", "export"],
    ),
    (
        "tmux",
        &[
            "kill-session",
            "kill-server",
            "attach",
            "ls",
            "list-sessions",
            "has-session",
            "set-option",
        ],
    ),
];

/// Python's modules that are run by `-m` and hold no engine.
const MODULES: [&str; 20] = [
    "pip",
    "venv",
    "http.server",
    "json.tool",
    "ensurepip",
    "site",
    "this",
    "timeit",
    "zipfile",
    "tarfile",
    "compileall",
    "sglang.bench_serving",
    "sglang_router.launch_router",
    "dynamo.frontend",
    "dynamo.planner",
    "dynamo.router",
    "litellm",
    "virtualenv",
    "gzip",
    "sglang.check_env",
];

/// Libraries of Python that start no engine by themselves.
const LIBRARIES: &str = "
    __future__ abc aiofiles aiohttp argparse array ast asyncio atexit base64 bisect bs4 calendar cmath collections
    concurrent contextlib copy csv dataclasses datasets datetime decimal difflib dotenv enum fire fnmatch
    fractions functools gc getpass glob gzip hashlib heapq hmac html http httpx huggingface_hub inspect io
    itertools json locale logging math matplotlib numpy omegaconf openai operator os pandas pathlib pickle
    platform pprint pyarrow pydantic queue random re requests rich secrets shlex shutil signal socket sqlite3
    statistics string struct sys tempfile tenacity textwrap threading tiktoken time timeit tomllib tqdm
    traceback types typer typing typing_extensions unittest urllib urllib3 uuid warnings weakref yaml zipfile
";

fn lists(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|w| w == word)
}

/// True for a program that uses no GPU.
pub(super) fn is_tool(program: &str) -> bool {
    lists(TOOLS, program)
}

/// True for words of a program that may hold an engine, but not so.
pub(super) fn is_quiet(words: &[&str]) -> bool {
    let Some(program) = words.first().map(|w| super::words::base(w)) else {
        return true;
    };
    let row = QUIET.iter().find(|(name, _)| *name == program);
    row.is_some_and(|(_, quiet)| words.get(1).is_none_or(|w| quiet.contains(w)))
}

/// True for a module that is run by `python -m` and holds no engine.
pub(super) fn is_quiet_module(module: &str) -> bool {
    MODULES.contains(&module)
}

/// True for a library that starts no engine by itself.
pub(super) fn is_library(name: &str) -> bool {
    lists(LIBRARIES, name)
}

/// True for the name of a file that is sourced for an environment: it starts nothing, and sets no
/// variable of the script's own.
pub(super) fn is_environment(name: &str) -> bool {
    const NAMES: [&str; 18] = [
        "activate",
        "conda.sh",
        "mamba.sh",
        "micromamba.sh",
        ".bashrc",
        ".bash_profile",
        ".profile",
        "profile",
        "bashrc",
        "modules.sh",
        "lmod.sh",
        "bash",
        "sh",
        "z00_lmod.sh",
        "setvars.sh",
        "spack-env.sh",
        "setup-env.sh",
        "init.sh",
    ];
    NAMES.contains(&super::words::base(name))
}
