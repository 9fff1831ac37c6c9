//! Fills a spool for `demo/bench-scale.sh`: outcome files of many jobs of many users, and the accounting of these jobs.
//!
//! ```text
//! scale site FOLDER                a configuration, and stand-ins for Slurm's commands: three nodes, and accounting that knows every job; FOLDER is absolute
//! scale fill FOLDER FIRST JOBS     one outcome file with four windows for each of the jobs
//! ```
//!
//! Figures follow the bandwidth that a data sheet tells, with a scatter of 10 %: models, GPU types, degrees, loads and lengths
//! differ as a site's do, so that what is trained on them has cells to tell apart. As root the files belong to 500 users.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// What a part of this program gives, errors as one line.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Users, and the number of the first one.
const USERS: u64 = 500;
const FIRST_UID: u64 = 61_000;
/// Seconds from one job's start to the next one's, and how long each runs.
const EVERY: u64 = 5;
const ELAPSED: u64 = 3600;
/// Jobs of which accounting tells.
const MOST_JOBS: u64 = 400_000;

/// A name, and billions of parameters that one token uses.
const MODELS: [(&str, f64); 8] = [
    ("meta-llama/Llama-3.1-8B-Instruct", 8.0),
    ("meta-llama/Llama-3.1-70B-Instruct", 70.6),
    ("Qwen/Qwen2.5-7B-Instruct", 7.6),
    ("Qwen/Qwen2.5-32B-Instruct", 32.8),
    ("Qwen/Qwen2.5-72B-Instruct", 72.7),
    ("mistralai/Mistral-7B-Instruct-v0.3", 7.2),
    ("openai/gpt-oss-120b", 5.1),
    ("google/gemma-2-27b-it", 27.2),
];
/// A Slurm type, and the memory bandwidth of such a GPU, GB/s.
const GPUS: [(&str, f64); 3] = [("h200", 4800.0), ("h100", 3350.0), ("a100", 2039.0)];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["site", folder] => site(Path::new(folder)),
        ["fill", folder, first, jobs] => fill(Path::new(folder), first, jobs),
        _ => Err("usage: scale site FOLDER | fill FOLDER FIRST JOBS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn uid(job: u64) -> u64 {
    if is_root() {
        FIRST_UID + job % USERS
    } else {
        u64::from(nix::unistd::geteuid().as_raw())
    }
}

/// When a job began, Unix seconds: the last one an hour and more ago.
fn start(base: u64, job: u64) -> u64 {
    base + job * EVERY
}

fn site(folder: &Path) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let base = now - MOST_JOBS * EVERY - 2 * ELAPSED;
    fs::create_dir_all(folder.join("bin"))?;
    fs::create_dir_all(folder.join("spool"))?;
    fs::write(folder.join("base"), base.to_string())?;
    let own = uid(0);
    let user = if is_root() {
        format!("{FIRST_UID} + $1 % {USERS}")
    } else {
        own.to_string()
    };
    let types: Vec<&str> = GPUS.iter().map(|(name, _)| *name).collect();
    let sacct = format!(
        r#"#!/bin/sh
ids= d='|'
while [ $# -gt 0 ]; do
  case $1 in --delimiter=*) d=${{1#*=}} ;; -j) ids=$2; shift ;; esac
  shift
done
[ -n "$ids" ] || exit 0
printf %s "$ids" | tr , '\n' | awk -v d="$d" 'BEGIN {{ split("{types}", gpus) }} {{
  b = {base} + $1 * {EVERY}; u = {user}
  print $1 d "scale" d "user" u d u d "COMPLETED" d "0:0" d {ELAPSED} d b - 60 d b - 60 d b d b + {ELAPSED} d "h1" d \
    "billing=1,cpu=1,gres/gpu:" gpus[$1 % {kinds} + 1] "=4,gres/gpu=4,mem=1G,node=1" d "serve" d "job" d "sbatch serve.sh" d "" d "None" }}'
"#,
        types = types.join(" "),
        kinds = GPUS.len(),
    );
    program(folder, "sacct", &sacct)?;
    let node = |(name, _): &(&str, f64)| {
        format!(
            "NodeName=n-{name} CPUTot=64 Gres=gpu:{name}:8 GresUsed=gpu:{name}:0 State=IDLE Partitions=gpu"
        )
    };
    let nodes: Vec<String> = GPUS.iter().map(node).collect();
    let scontrol = format!(
        "#!/bin/sh\ncase $* in *partition*) echo PartitionName=gpu Default=YES ;; *) echo '{}' ;; esac\n",
        nodes.join("\n")
    );
    program(folder, "scontrol", &scontrol)?;
    program(folder, "squeue", "#!/bin/sh\n")?;
    let root = folder.display();
    let text = format!(
        "store = \"{root}/store.db\"\nsnapshot = \"{root}/m.snapshot\"\nspool = \"{root}/spool\"\n"
    );
    Ok(fs::write(folder.join("omnipilot.toml"), text)?)
}

fn program(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join("bin").join(name);
    fs::write(&path, text)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

fn fill(folder: &Path, first: &str, jobs: &str) -> Result<()> {
    let (first, jobs): (u64, u64) = (first.parse()?, jobs.parse()?);
    let base: u64 = fs::read_to_string(folder.join("base"))?.parse()?;
    if first == 0 {
        wishes(folder)?;
    }
    if first + jobs > MOST_JOBS {
        return Err(format!("accounting knows {MOST_JOBS} jobs").into());
    }
    for job in first..first + jobs {
        let path = folder.join(format!("spool/{job}.json"));
        fs::write(&path, outcome(base, job).to_string())?;
        if is_root() {
            chown(&path, u32::try_from(uid(job)).ok(), None)?;
        }
    }
    Ok(())
}

/// What 200 users asked for and was not known.
fn wishes(folder: &Path) -> Result<()> {
    for n in 0..200 {
        let model = one_of(
            &[
                "deepseek-ai/DeepSeek-V3",
                "google/gemma-3-27b-it",
                "Qwen/Qwen3-32B",
            ],
            n,
            30,
        );
        let isl = 256 << (n % 8);
        let wish = json!({ "schema": 1, "why": "refused", "options": { "llm-model": model, "llm-isl": isl.to_string(), "llm-osl": "256" } });
        let path = folder.join(format!("spool/{n}.wish"));
        fs::write(&path, wish.to_string())?;
        if is_root() {
            chown(&path, u32::try_from(uid(n)).ok(), None)?;
        }
    }
    Ok(())
}

/// Numbers from 0 to 1 that a job and a place in it always give again.
fn draw(job: u64, place: u64) -> f64 {
    let mut x = job
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(place.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn one_of<T: Copy>(all: &[T], job: u64, place: u64) -> T {
    all[(draw(job, place) * all.len() as f64) as usize % all.len()]
}

fn outcome(base: u64, job: u64) -> Value {
    let (model, billions) = one_of(&MODELS, job, 1);
    let (gres, bandwidth) = GPUS[(job % GPUS.len() as u64) as usize];
    let tp = if billions > 30.0 {
        4u32
    } else {
        one_of(&[1, 2, 4], job, 2)
    };
    let precision = one_of(&["bf16", "fp8"], job, 3);
    let bytes = if precision == "fp8" { 1.0 } else { 2.0 };
    let (isl, osl) = (
        one_of(&[512.0, 1024.0, 2048.0], job, 4),
        one_of(&[128.0, 256.0, 1024.0], job, 5),
    );
    let begun = start(base, job) as f64 + 10.0;
    // A step reads the weights once for all requests in flight, whose share of it grows with them.
    let window = |k: u64| {
        let in_flight = 4.0 * f64::from(1u32 << ((job + k) % 6));
        let step_ms = billions * bytes * 1e3 / (bandwidth * f64::from(tp)) + 0.05 * in_flight + 2.0;
        let scatter = 0.9 + 0.2 * draw(job, 10 + k);
        let rate = in_flight / step_ms * 1e3 * scatter;
        json!({ "begins_at": begun + 100.0 + 600.0 * k as f64, "seconds": 500.0 + draw(job, 20 + k), "requests": rate * 500.0 / osl,
            "output_tok_s": rate, "req_s": rate / osl, "ttft_ms": isl * 0.05 + step_ms, "tpot_ms": step_ms / scatter,
            "e2e_ms": osl * step_ms, "concurrency": in_flight, "isl": isl, "osl": osl, "kv_usage": 0.3 })
    };
    let windows: Vec<Value> = (0..4).map(window).collect();
    json!({ "schema": 1, "job_id": job, "cluster": "scale", "uid": uid(job), "engine": "vllm", "engine_version": "0.11.0",
        "asked": { "model": model, "gpu": gres, "num_gpus": 4, "tp": tp, "precision": precision },
        "started_at": begun, "cold_start_s": 60.0 + draw(job, 6), "elapsed_s": 3000.0, "outcome": "ok", "evidence": "", "windows": windows })
}
