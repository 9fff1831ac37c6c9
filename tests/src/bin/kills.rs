//! Kills `omnipilot ingest`, `run` and `train` at random points and counts what is lost or doubled.
//!
//! ```text
//! kills N FOLDER [SEED]     N kills: six in ten of `ingest`, three of `run`, one of `train`
//! ```
//!
//! `sacct` and the engine are stand-ins; store, spool, files and signals are real. Ends with 1 where anything was lost, doubled, left half or left
//! running. The moment of each kill is drawn evenly from the time that the command took when it was left alone, and a fifth more.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::artifacts;
use model_store::snapshot::Snapshot;
use rusqlite::Connection;
use serde_json::json;

/// What a part of this program gives, errors as one line.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Outcome files of one round of `ingest`: most rounds fill a small part of a transaction, each tenth a large one.
fn files_of(round: u64) -> u64 {
    if round.is_multiple_of(10) { 384 } else { 40 }
}

/// Answers for any job: it ran while this bench did, on 2 x h100.
const SACCT: &str = r#"#!/bin/sh
ids= d='|'
while [ $# -gt 0 ]; do
  case $1 in --delimiter=*) d=${1#*=} ;; -j) ids=$2; shift ;; esac
  shift
done
[ -n "$ids" ] || exit 0
read -r begin end uid < "${0%/*}/when"
echo "$ids" | tr , '\n' | awk -v d="$d" -v b="$begin" -v e="$end" -v u="$uid" '{
  print $1 d "kills" d "alice" d u d "COMPLETED" d "0:0" d e-b d b d b d b d e d "h1" d \
    "billing=1,cpu=1,gres/gpu:h100=2,gres/gpu=2,mem=1G,node=1" d "serve" d "job" d "sbatch serve.sh" d "" d "None" }'
"#;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.as_slice() {
        [kills, folder] => work(kills, folder, "1"),
        [kills, folder, seed] => work(kills, folder, seed),
        _ => Err("usage: kills N FOLDER [SEED]".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kills: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(kills: &str, folder: &str, seed: &str) -> Result<bool> {
    let (kills, mut state): (u64, u64) = (kills.parse()?, seed.parse()?);
    let bench = Bench::new(Path::new(folder))?;
    let mut found = Found::default();
    let (of_run, of_train) = (kills * 3 / 10, kills / 10);
    bench.ingest(kills - of_run - of_train, &mut state, &mut found)?;
    println!("ingest: {}", found.line());
    bench.run(of_run, &mut state, &mut found)?;
    println!("and run: {}", found.line());
    bench.train(of_train, &mut state, &mut found)?;
    println!("and train: {}", found.line());
    Ok(found.faults() == 0 && found.kills == kills)
}

/// What was counted.
#[derive(Default)]
struct Found {
    kills: u64,
    /// Commands that had ended by themselves before their signal came; their kill is done again.
    late: u64,
    acknowledged: u64,
    lost: u64,
    doubled: u64,
    half: u64,
    orphans: u64,
}

impl Found {
    fn faults(&self) -> u64 {
        self.lost + self.doubled + self.half + self.orphans
    }

    fn line(&self) -> String {
        format!(
            "{} kills ({} more came too late), {} records: {} lost, {} doubled, {} half written, {} engines left running",
            self.kills,
            self.late,
            self.acknowledged,
            self.lost,
            self.doubled,
            self.half,
            self.orphans
        )
    }
}

struct Bench {
    folder: PathBuf,
    omnipilot: PathBuf,
    uid: u32,
    began: u64,
}

impl Bench {
    fn new(folder: &Path) -> Result<Self> {
        let bin = folder.join("bin");
        for dir in [bin.clone(), folder.join("spool")] {
            fs::create_dir_all(dir)?;
        }
        let program = |name: &str, text: &str| -> Result<()> {
            let path = bin.join(name);
            fs::write(&path, text)?;
            Ok(fs::set_permissions(
                path,
                fs::Permissions::from_mode(0o755),
            )?)
        };
        program("sacct", SACCT)?;
        let engine = artifacts::standin()?.display().to_string();
        let pid = folder.join("engine.pid").display().to_string();
        program(
            "vllm",
            &format!("#!/bin/sh\necho $$ > {pid}\nexec {engine} \"$@\"\n"),
        )?;
        let root = folder.display();
        let text = format!(
            "store = \"{root}/store.db\"\nsnapshot = \"{root}/m.snapshot\"\nspool = \"{root}/spool\"\n"
        );
        fs::write(folder.join("omnipilot.toml"), text)?;
        let bench = Self {
            folder: folder.into(),
            omnipilot: artifacts::omnipilot()?,
            uid: fs::metadata(folder)?.uid(),
            began: unix()?,
        };
        bench.when(0)?;
        bench.end(&["init", "--figures-only"])?;
        Ok(bench)
    }

    /// From now on accounting says that jobs ended so many seconds ago.
    fn when(&self, ago: u64) -> Result<()> {
        let text = format!(
            "{} {} {}\n",
            self.began - 1,
            unix()?.max(self.began + 1) - ago,
            self.uid
        );
        Ok(fs::write(self.folder.join("bin/when"), text)?)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.omnipilot);
        let path = format!("{}:/usr/bin:/bin", self.folder.join("bin").display());
        command
            .arg("--config")
            .arg(self.folder.join("omnipilot.toml"))
            .args(words);
        command
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs a command that must succeed.
    fn end(&self, words: &[&str]) -> Result<Duration> {
        let begun = Instant::now();
        let status = self.command(words).status()?;
        if !status.success() {
            return Err(format!("{words:?}: {status}").into());
        }
        Ok(begun.elapsed())
    }

    fn store(&self) -> Result<Connection> {
        let db = Connection::open(self.folder.join("store.db"))?;
        db.busy_timeout(Duration::from_secs(30))?;
        Ok(db)
    }

    fn count(&self, sql: &str) -> Result<u64> {
        Ok(self.store()?.query_row(sql, [], |row| row.get(0))?)
    }

    fn spool(&self, suffix: &str) -> Result<Vec<PathBuf>> {
        let names = fs::read_dir(self.folder.join("spool"))?
            .flatten()
            .map(|e| e.path());
        Ok(names
            .filter(|p| p.to_string_lossy().ends_with(suffix))
            .collect())
    }

    fn fill(&self, round: u64) -> Result<()> {
        let before: u64 = (0..round).map(files_of).sum();
        for n in 0..files_of(round) {
            let job = before + n + 1;
            let at = self.began as f64;
            let window = json!({ "begins_at": at, "seconds": 60.0, "requests": 600.0, "output_tok_s": 1000.0 + job as f64 / 1e3,
                "req_s": 10.0, "concurrency": 16.0, "isl": 1000.0, "osl": 100.0, "kv_usage": 0.3 });
            let outcome = json!({ "schema": 1, "job_id": job, "cluster": "kills", "uid": self.uid, "engine": "vllm", "engine_version": "1",
                "asked": { "model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100", "num_gpus": 2, "tp": 2, "precision": "fp8" },
                "started_at": at, "cold_start_s": 1.0, "elapsed_s": 90.0, "outcome": "ok", "evidence": "", "windows": [window] });
            fs::write(
                self.folder.join(format!("spool/{job}.json")),
                outcome.to_string(),
            )?;
        }
        for n in 0..20 {
            let wish = json!({ "schema": 1, "why": "refused", "options": { "llm-model": format!("m{round}-{n}") } });
            fs::write(
                self.folder.join(format!("spool/{n}.wish")),
                wish.to_string(),
            )?;
        }
        Ok(())
    }

    fn ingest(&self, kills: u64, state: &mut u64, found: &mut Found) -> Result<()> {
        let (until, mut round) = (found.kills + kills, 1);
        self.began_earlier()?;
        self.fill(0)?;
        let mut whole = self.end(&["ingest"])?;
        self.fill(1)?;
        whole = (whole + self.end(&["ingest"])?) / 2;
        while found.kills < until {
            round += 1;
            self.fill(round)?;
            while found.kills < until
                && !(self.spool(".json")?.is_empty() && self.spool(".wish")?.is_empty())
            {
                kill(self.command(&["ingest"]), whole, state, found)?;
            }
            self.end(&["ingest"])?;
        }
        let all: u64 = (0..=round).map(files_of).sum();
        let runs = self.count("select count(*) from runs where origin = 'this-cluster'")?;
        let distinct =
            self.count("select count(distinct run_id) from runs where origin = 'this-cluster'")?;
        let files = self.count("select count(*) from outcome_files")?;
        let kept = self.count("select count(*) from wishes")?.min(200);
        found.acknowledged += all;
        found.lost +=
            all.saturating_sub(distinct) + (20 * (round + 1)).min(200).saturating_sub(kept);
        found.doubled += (runs - distinct) + files.saturating_sub(all);
        found.doubled += self.count("select count(*) from wishes where asked > 1")?;
        found.half += self.count("select count(*) from quarantine")?;
        Ok(())
    }

    /// Jobs of the first part lie in the past, with room for their minute of load.
    fn began_earlier(&self) -> Result<()> {
        let text = format!("{} {} {}\n", self.began - 1, self.began + 100, self.uid);
        Ok(fs::write(self.folder.join("bin/when"), text)?)
    }

    fn run(&self, kills: u64, state: &mut u64, found: &mut Found) -> Result<()> {
        let until = found.kills + kills;
        let before = self.count("select count(*) from outcome_files")?;
        let mut job = 1_000_000_000;
        let start = |job: u64| {
            let port = (21_000 + job % 9000).to_string();
            let mut command = self.command(&[
                "run",
                "--interval",
                "0.05",
                "--warmup",
                "0",
                "--",
                "vllm",
                "serve",
                "m",
                "--port",
                &port,
            ]);
            command.env("SLURM_JOB_ID", job.to_string());
            command
                .env("SLURM_CLUSTER_NAME", "kills")
                .env("SLURM_LLM_SPOOL", self.folder.join("spool"));
            command
                .env("STANDIN_READY_S", "0.02")
                .env("STANDIN_STOP_AFTER_S", "0.25")
                .env("SLURM_JOB_GPUS", "0,1");
            command
        };
        let begun = Instant::now();
        start(job).status()?;
        let whole = begun.elapsed();
        let mut seen: BTreeSet<PathBuf> = self.spool(".json")?.into_iter().collect();
        while found.kills < until {
            job += 1;
            let _ = fs::remove_file(self.folder.join("engine.pid"));
            kill(start(job), whole, state, found)?;
            found.orphans += u64::from(!self.engine_ends()?);
            let files = self.spool(".json")?;
            let new: Vec<&PathBuf> = files.iter().filter(|f| !seen.contains(*f)).collect();
            found.doubled += (new.len() as u64).saturating_sub(1);
            for file in &new {
                let text = fs::read(file)?;
                let whole = serde_json::from_slice::<model_store::outcome::Outcome>(&text)
                    .is_ok_and(|o| o.job_id == job);
                found.half += u64::from(!whole);
            }
            seen.extend(files);
        }
        self.when(0)?;
        self.end(&["ingest"])?;
        let taken = self.count("select count(*) from outcome_files")? - before;
        let left = seen.len() as u64;
        found.acknowledged += left;
        found.lost += left.saturating_sub(taken);
        found.doubled += taken.saturating_sub(left);
        Ok(())
    }

    /// False where the engine of a killed wrapper is still there after five seconds.
    fn engine_ends(&self) -> Result<bool> {
        let Ok(text) = fs::read_to_string(self.folder.join("engine.pid")) else {
            return Ok(true);
        };
        let process = Path::new("/proc").join(text.trim());
        let until = Instant::now() + Duration::from_secs(5);
        while !text.trim().is_empty() && process.exists() {
            let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
            if state.contains(") Z") || state.is_empty() {
                return Ok(true);
            }
            if Instant::now() > until {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(true)
    }

    fn train(&self, kills: u64, state: &mut u64, found: &mut Found) -> Result<()> {
        let until = found.kills + kills;
        // Few runs train in no time, so that the kills hit every step.
        self.store()?.execute("delete from runs where id not in (select id from runs where origin = 'published' order by id limit 12)", [])?;
        let whole = self.end(&["train", "--force"])?;
        let snapshot = self.folder.join("m.snapshot");
        while found.kills < until {
            kill(self.command(&["train", "--force"]), whole, state, found)?;
            match Snapshot::read(&snapshot) {
                Ok(published) => {
                    let sql = format!(
                        "select count(*) from models where id = '{}' and snapshot is not null",
                        published.id
                    );
                    found.lost += u64::from(self.count(&sql)? == 0);
                }
                Err(_) => found.half += 1,
            }
            found.acknowledged += 1;
        }
        self.end(&["train", "--force"]).map(|_| ())
    }
}

/// Kills a command at a random point of the time that it takes.
fn kill(mut command: Command, whole: Duration, state: &mut u64, found: &mut Found) -> Result<()> {
    let mut child = command.spawn()?;
    std::thread::sleep(whole.mul_f64(1.2 * draw(state)));
    if child.try_wait()?.is_some() {
        found.late += 1;
        return Ok(());
    }
    child.kill()?;
    child.wait()?;
    found.kills += 1;
    Ok(())
}

/// A number from 0 to 1 (SplitMix64).
fn draw(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn unix() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
