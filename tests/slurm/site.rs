//! OmniPilot on a cluster as an administrator sets it up, with a stand-in for the engine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use e2e::{ALICE, Cluster, OPERATOR, Output, Setup, User, artifacts};
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

/// A model and a load that the published figures cover well.
pub(crate) const REQUEST: [&str; 4] = [
    "--llm-model=meta-llama/Llama-3.1-70B-Instruct",
    "--llm-isl=1000",
    "--llm-osl=1000",
    "--llm-concurrency=64",
];
/// A context that no published figure comes near.
pub(crate) const FAR_AWAY: [&str; 4] = [
    "--llm-model=meta-llama/Llama-3.1-70B-Instruct",
    "--llm-isl=120000",
    "--llm-osl=1000",
    "--llm-concurrency=64",
];

/// A cluster with the command, its configuration and the engine stand-in; the plugin and the store come by calls.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
}

impl Site {
    /// Command, configuration of the three keys that must be there, and stand-in; nothing else yet.
    pub(crate) fn bare(setup: &Setup) -> Self {
        let cluster = setup.start().unwrap();
        cluster
            .install(&artifacts::omnipilot().unwrap(), "omnipilot")
            .unwrap();
        let site = Self { cluster };
        site.configure(&site.path("site"));
        site.install_engine();
        site
    }

    /// With a store from the published figures and a published snapshot, made once for all tests.
    pub(crate) fn trained(setup: &Setup) -> Self {
        let site = Self::bare(setup);
        for file in trained_once(&site) {
            let name = file.file_name().unwrap();
            fs::copy(&file, site.path("site").join(name)).unwrap();
        }
        site.omnipilot(OPERATOR, &["init", "--figures-only"])
            .success()
            .unwrap();
        // What was trained once was trained on another cluster, maybe days ago.
        site.omnipilot(OPERATOR, &["observe"]).success().unwrap();
        site
    }

    /// Switches the plugin on.
    pub(crate) fn load_plugin(&self) {
        let arguments = format!("config={}", self.config());
        self.cluster.plugin(&arguments).unwrap();
    }

    /// A path in the cluster's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.cluster.prefix().join(name)
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> String {
        self.path("etc/omnipilot.toml").display().to_string()
    }

    fn configure(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let entry =
            |key: &str, name: &str| format!("{key} = \"{}\"\n", folder.join(name).display());
        let text = entry("store", "store.db")
            + &entry("snapshot", "store.snapshot")
            + &entry("spool", "spool");
        self.cluster.file("etc/omnipilot.toml", &text).unwrap();
    }

    /// The stand-in under vLLM's name. It prints its arguments, ends by itself, and is slow on the GPU type that the
    /// file `slow-gpu` names.
    fn install_engine(&self) {
        let standin = self
            .cluster
            .install(
                Path::new(env!("CARGO_BIN_EXE_standin-engine")),
                "standin-engine",
            )
            .unwrap();
        let text = format!(
            "#!/bin/sh\necho \"stand-in started with: $*\"\nexport STANDIN_STOP_AFTER_S=9\n\
             [ \"$SLURM_LLM_GPU\" != \"$(cat {})\" ] || export STANDIN_TOK_S=300\nexec {} \"$@\"\n",
            self.cluster.file("slow-gpu", "none\n").unwrap().display(),
            standin.display()
        );
        let script = self.cluster.file("vllm.sh", &text).unwrap();
        self.cluster.install(&script, "vllm").unwrap();
    }

    /// From now on the stand-in is slow on this GPU type.
    pub(crate) fn slow_down(&self, gpu: &str) {
        self.cluster.file("slow-gpu", &format!("{gpu}\n")).unwrap();
    }

    /// Runs `omnipilot --config FILE` with these words.
    pub(crate) fn omnipilot(&self, user: User, words: &[&str]) -> Output {
        let config = self.config();
        self.cluster
            .run(user, "omnipilot", &[&["--config", &config], words].concat())
            .unwrap()
    }

    /// The same for a verb that has to succeed, with `--json`.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let output = self
            .omnipilot(OPERATOR, &[words, &["--json"]].concat())
            .success()
            .unwrap();
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
    }

    /// A batch script that asks for eight A100, shows what it was given, and serves.
    pub(crate) fn serving(&self) -> String {
        let bin = self.path("bin").display().to_string();
        format!(
            "#!/bin/bash\n#SBATCH --gres=gpu:a100:8\n#SBATCH --comment=mine\n\
             echo \"gpus $CUDA_VISIBLE_DEVICES\"\nenv | grep ^SLURM_LLM_\n\
             {bin}/omnipilot run --interval 0.2 --warmup 0.4 -- {bin}/vllm serve \"$SLURM_LLM_MODEL\" --port {}\n",
            free_port()
        )
    }

    /// Submits, asserts that nothing but the job id was printed, and gives the id.
    pub(crate) fn sbatch(&self, words: &[&str], script: &str) -> u32 {
        submitted(&self.cluster.sbatch(ALICE, words, script).unwrap())
    }

    /// How many jobs the controller knows, ended ones included.
    pub(crate) fn jobs(&self) -> usize {
        let all = ["-h", "-t", "all", "-o", "%i"];
        let output = self
            .cluster
            .run(OPERATOR, "squeue", &all)
            .unwrap()
            .success()
            .unwrap();
        output.stdout.lines().count()
    }
}

/// The job id of a successful submission that was silent otherwise.
pub(crate) fn submitted(output: &Output) -> u32 {
    let id = output.id().unwrap();
    assert_eq!(
        (output.code, &*output.stdout, &*output.stderr),
        (Some(0), &*format!("Submitted batch job {id}\n"), ""),
        "{output}"
    );
    id
}

/// GPUs that a job's record asks for on a node, as `gpu:h100:2`. Slurm writes `gres:` or `gres/` before.
pub(crate) fn gpus(record: &BTreeMap<String, String>) -> String {
    let text = record.get("TresPerNode").map_or("", String::as_str);
    text.replace("gres:", "").replace("gres/", "")
}

/// The `NAME=VALUE` lines of a job's output.
pub(crate) fn variables(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .collect()
}

/// A refusal: this code, nothing on standard output, two to four lines that name the command, the last one a hint.
pub(crate) fn assert_refused(output: &Output, code: i32, prefix: &str) {
    assert_eq!((output.code, &*output.stdout), (Some(code), ""), "{output}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!((2..=4).contains(&lines.len()), "{output}");
    assert!(
        lines.iter().all(|line| line.starts_with(prefix)),
        "{output}"
    );
    assert!(lines.last().unwrap().contains("hint: "), "{output}");
}

/// A port below the range of the clusters' own, of which nobody listens to; each test process begins elsewhere.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = (std::process::id() % 900) as u16 * 10;
    let mut ports =
        std::iter::repeat_with(|| 10_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 9000);
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// Store and snapshot, made anew when the command was built anew.
fn trained_once(site: &Site) -> [PathBuf; 2] {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(folder.join("trained.lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let files = ["store.db", "store.snapshot"].map(|name| folder.join(name));
    let built = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if files
        .iter()
        .any(|file| built(file) < built(&artifacts::omnipilot().unwrap()))
    {
        train_into(site, &files);
    }
    drop(lock);
    files
}

/// The store first: a snapshot without it is made anew.
fn train_into(site: &Site, files: &[PathBuf]) {
    for verb in [&["init", "--figures-only"][..], &["observe"], &["train"]] {
        site.omnipilot(OPERATOR, verb).success().unwrap();
    }
    for file in files {
        fs::copy(site.path("site").join(file.file_name().unwrap()), file).unwrap();
    }
}
