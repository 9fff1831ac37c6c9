//! Many users submit at once to a real slurmctld, with the plugin and without it, while a snapshot is published every second.
//! `demo/bench-load.sh` calls it.
//!
//!     load SUBMISSIONS USERS SNAPSHOT FIRST_UID
//!
//! SUBMISSIONS are made with the plugin and as many without, in blocks of 500 that alternate, by USERS processes at a time, each of
//! a user of its own (uid FIRST_UID and up; 0: all are the caller). SNAPSHOT is a published one; two are made of it that advise
//! differently, and published in turn. Every accepted job must carry exactly what one of the two advises; and the one that was
//! published last, where no other was published while it was submitted. An advice that comes too late is told apart: fifty processes
//! share the processors, and the job goes as written then.
//!
//!     load controller ROUNDS
//!
//! How long `etc/job_submit.lua` takes in slurmctld, for each kind of job as the mean of ROUNDS calls.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::stats::{interval_of_median, quantile_of};
use e2e::{ALICE, Cluster, OPERATOR, Setup, parse_job};
use model_store::snapshot::Snapshot;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Submissions in a block.
const BLOCK: usize = 500;

/// The request of every tagged job.
const TAG: [&str; 4] = [
    "--llm-model=meta-llama/Llama-3.1-8B-Instruct",
    "--llm-isl=300",
    "--llm-osl=200",
    "--llm-concurrency=32",
];

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    if let [verb, rounds] = words
        && verb == "controller"
    {
        return controller(rounds.parse()?);
    }
    let [submissions, users, snapshot, first_uid] = words else {
        return Err("usage: load SUBMISSIONS USERS SNAPSHOT FIRST_UID".into());
    };
    let site = Site::start(Path::new(snapshot), users.parse()?, first_uid.parse()?)?;
    let expected = [site.advised(0)?, site.advised(1)?];
    if expected[0] == expected[1] {
        return Err("the two snapshots advise the same".into());
    }
    let stop = AtomicBool::new(false);
    let (blocks, published) = thread::scope(|scope| {
        let publisher = scope.spawn(|| site.publish_until(&stop));
        let blocks = site.blocks(submissions.parse().unwrap_or(2000) / BLOCK);
        stop.store(true, Ordering::Relaxed);
        (blocks, publisher.join())
    });
    let published = published.map_err(|_| "publishing failed")?;
    report(&blocks);
    judge(&site, &blocks, &published, &expected)
}

/// The cluster, the plugin in it, and who submits.
struct Site {
    cluster: Cluster,
    snapshots: [Snapshot; 2],
    path: PathBuf,
    bare: PathBuf,
    job: PathBuf,
    users: usize,
    first_uid: u32,
}

/// GPUs and comment of a job.
type Advised = (String, String);

/// One submission.
struct Submitted {
    block: usize,
    user: usize,
    begun: Instant,
    ended: Instant,
    id: Option<u32>,
    /// What was printed beside the id.
    noise: String,
}

/// One publication, from before the rename to after it.
struct Published {
    which: usize,
    begun: Instant,
    ended: Instant,
}

impl Site {
    fn start(snapshot: &Path, users: usize, first_uid: u32) -> Result<Self> {
        let conf = "MaxJobCount=100000\nMinJobAge=3600";
        let cluster = Setup::default().conf(conf).start()?;
        let folder = cluster.prefix().to_path_buf();
        let path = folder.join("model.snapshot");
        let entry =
            |key: &str, file: &str| format!("{key} = \"{}\"\n", folder.join(file).display());
        let config = entry("store", "store.db")
            + &entry("snapshot", "model.snapshot")
            + &entry("spool", "spool");
        // Fifty processes share the processors: an advice that has to wait for one is late, not wrong.
        let config = cluster.file("omnipilot.toml", &(config + "time_limit_ms = 30000\n"))?;
        cluster.plugin(&format!("config={}", config.display()))?;
        let bare =
            fs::read_to_string(cluster.conf())?.replace("/etc/plugstack.conf", "/bare/none.conf");
        let bare = cluster.file("bare/slurm.conf", &bare)?;
        for name in ["gres.conf", "cgroup.conf"] {
            fs::copy(
                folder.join("etc").join(name),
                folder.join("bare").join(name),
            )?;
        }
        let job = cluster.file("job.sh", "#!/bin/sh\ntrue\n")?;
        let first = Snapshot::read(snapshot)?;
        let snapshots = [cheapest(&first, "h200"), cheapest(&first, "a100")];
        Ok(Self {
            cluster,
            snapshots,
            path,
            bare,
            job,
            users,
            first_uid,
        })
    }

    /// What a job is given under one of the snapshots.
    fn advised(&self, which: usize) -> Result<Advised> {
        self.snapshots[which].publish(&self.path)?;
        let one = self.submit(0, 0, true);
        let id = one
            .id
            .ok_or_else(|| format!("not submitted: {}", one.noise))?;
        let record = self.cluster.show_job(id)?;
        Ok((
            gpus(&record),
            record.get("Comment").cloned().unwrap_or_default(),
        ))
    }

    fn publish_until(&self, stop: &AtomicBool) -> Vec<Published> {
        let mut all = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let which = all.len() % 2;
            let begun = Instant::now();
            if self.snapshots[which].publish(&self.path).is_err() {
                break;
            }
            all.push(Published {
                which,
                begun,
                ended: Instant::now(),
            });
            thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
        }
        all
    }

    /// Blocks without and with the plugin: which of a pair comes first alternates.
    fn blocks(&self, pairs: usize) -> Vec<Submitted> {
        let mut all = Vec::new();
        for pair in 0..pairs {
            for half in 0..2 {
                let tagged = (pair + half) % 2 == 1;
                all.extend(self.block(2 * pair + usize::from(tagged), tagged));
            }
        }
        all
    }

    fn block(&self, block: usize, tagged: bool) -> Vec<Submitted> {
        let each = BLOCK / self.users.max(1);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.users)
                .map(|user| {
                    scope.spawn(move || {
                        (0..each)
                            .map(|_| self.submit(block, user, tagged))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap_or_default())
                .collect()
        })
    }

    fn submit(&self, block: usize, user: usize, tagged: bool) -> Submitted {
        let conf = if tagged {
            self.cluster.conf()
        } else {
            self.bare.clone()
        };
        let mut sbatch = Command::new("sbatch");
        sbatch
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("SLURM_CONF", conf)
            .current_dir("/")
            .stdin(Stdio::null())
            .args([
                "--hold",
                "--parsable",
                "--output=/dev/null",
                "--gres=gpu:h100:8",
            ]);
        if tagged {
            sbatch.args(TAG);
        }
        if self.first_uid > 0 {
            let uid = self.first_uid + user as u32;
            sbatch.uid(uid).gid(uid);
        }
        let begun = Instant::now();
        let output = sbatch.arg(&self.job).output();
        let ended = Instant::now();
        let (id, noise) = match output {
            Ok(output) if output.status.success() => (
                String::from_utf8_lossy(&output.stdout).trim().parse().ok(),
                String::from_utf8_lossy(&output.stderr).into_owned(),
            ),
            Ok(output) => (None, String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => (None, error.to_string()),
        };
        Submitted {
            block,
            user,
            begun,
            ended,
            id,
            noise,
        }
    }
}

/// The same knowledge, with one GPU type so cheap that it is advised.
fn cheapest(snapshot: &Snapshot, gres: &str) -> Snapshot {
    let mut body = snapshot.body.clone();
    for gpu in &mut body.gpus {
        gpu.price_per_hour = if gpu.gres == gres { 0.01 } else { 100.0 };
    }
    Snapshot::new(body, snapshot.created_at)
}

fn gpus(record: &std::collections::BTreeMap<String, String>) -> String {
    let text = record.get("TresPerNode").map_or("", String::as_str);
    text.replace("gres:", "").replace("gres/", "")
}

fn is_tagged(one: &Submitted) -> bool {
    one.block % 2 == 1
}

fn report(all: &[Submitted]) {
    let of = |tagged: bool| all.iter().filter(move |one| is_tagged(one) == tagged);
    let ms = |one: &Submitted| (one.ended - one.begun).as_secs_f64() * 1e3;
    for (name, tagged) in [
        ("without the plugin", false),
        ("with the plugin, tagged", true),
    ] {
        let times: Vec<f64> = of(tagged).map(ms).collect();
        let accepted = of(tagged).filter(|one| one.id.is_some()).count();
        let (median, p99) = (quantile_of(&times, 0.5), quantile_of(&times, 0.99));
        println!(
            "{name:<28} {accepted:>6} of {:<6} accepted   median {median:>8.1} ms   99 % {p99:>8.1} ms",
            times.len()
        );
    }
    // The i-th submission of a user in a block, and in the block of the other kind beside it.
    let (without, with): (Vec<&Submitted>, Vec<&Submitted>) =
        all.iter().partition(|one| !is_tagged(one));
    let mut pairs = [without, with];
    pairs
        .iter_mut()
        .for_each(|side| side.sort_by_key(|one| (one.block / 2, one.user, one.begun)));
    let added: Vec<f64> = pairs[1]
        .iter()
        .zip(&pairs[0])
        .map(|(a, b)| ms(a) - ms(b))
        .collect();
    let (low, high) = interval_of_median(&added).unwrap_or_default();
    println!(
        "added, median of {} pairs: {:.1} ms (95 % interval {low:.1} to {high:.1})",
        added.len(),
        quantile_of(&added, 0.5)
    );
}

/// Whether every job carries what was published.
fn judge(
    site: &Site,
    all: &[Submitted],
    published: &[Published],
    expected: &[Advised; 2],
) -> Result<()> {
    let listed = site
        .cluster
        .run(OPERATOR, "scontrol", &["show", "job", "-o"])?
        .success()?;
    let jobs: std::collections::BTreeMap<u32, Advised> = listed
        .stdout
        .lines()
        .map(parse_line)
        .filter_map(|(id, advised)| Some((id?, advised)))
        .collect();
    let (mut seen, mut dated, mut late, mut wrong) = ([0, 0], 0, 0, Vec::new());
    for one in all.iter().filter(|one| is_tagged(one)) {
        let Some(job) = one.id.and_then(|id| jobs.get(&id)) else {
            wrong.push(format!("not accepted: {}", one.noise));
            continue;
        };
        if one.noise.contains("no advice: not worked out within") && job.1.is_empty() {
            late += 1;
            continue;
        }
        let Some(which) = expected.iter().position(|advised| advised == job) else {
            wrong.push(format!("job {:?} has {job:?}; {}", one.id, one.noise));
            continue;
        };
        seen[which] += 1;
        let meanwhile = published
            .iter()
            .any(|p| p.begun < one.ended && p.ended > one.begun);
        let last = published.iter().rev().find(|p| p.ended <= one.begun);
        if let (false, Some(last)) = (meanwhile, last) {
            dated += 1;
            if last.which != which {
                wrong.push(format!(
                    "job {:?} rests on a snapshot that was no more",
                    one.id
                ));
            }
        }
    }
    let noisy = all.iter().filter(|one| !one.noise.is_empty()).count();
    println!(
        "{} publications; {} jobs advised by the one snapshot, {} by the other, {dated} of them with one possible; {late} as written, out of time; wrong or torn {}; other lines on stderr {}",
        published.len(),
        seen[0],
        seen[1],
        wrong.len(),
        noisy - late,
    );
    match wrong.first() {
        None => Ok(()),
        Some(first) => Err(first.clone().into()),
    }
}

fn parse_line(line: &str) -> (Option<u32>, Advised) {
    // On one line the comment is followed by other fields; it has no blank here.
    let record = parse_job(&line.replace(' ', "\n"));
    let id = record.get("JobId").and_then(|id| id.parse().ok());
    (
        id,
        (
            gpus(&record),
            record.get("Comment").cloned().unwrap_or_default(),
        ),
    )
}

/// The shipped file, called many times for each job.
fn controller(rounds: u32) -> Result<()> {
    let shipped = include_str!("../../../etc/job_submit.lua")
        .replace("guarded = {},", "guarded = { \"serve\" },")
        .replace("\nreturn slurm.SUCCESS\n", "\n");
    let lua = format!(
        "{shipped}\nlocal once = slurm_job_submit\nfunction slurm_job_submit(job, partitions, uid)\n  \
         local from, result = os.clock(), nil\n  for i = 1, {rounds} do result = once(job, partitions, uid) end\n  \
         slurm.log_info(\"mean %s us\", tostring((os.clock() - from) / {rounds} * 1e6))\n  return result\nend\n\
         return slurm.SUCCESS\n"
    );
    let setup = Setup::default()
        .conf("JobSubmitPlugins=lua")
        .beside_slurm_conf("job_submit.lua", &lua);
    let cluster = setup.start()?;
    cluster.plugin("config=/nowhere/omnipilot.toml")?;
    let kinds: [(&str, &[&str]); 3] = [
        ("no GPUs", &[]),
        (
            "GPUs, tagged",
            &["--llm-model=m", "--llm-advice=off", "--gres=gpu:a100:2"],
        ),
        (
            "GPUs, carrying an advice",
            &["--comment=omnipilot:0123abcd", "--gres=gpu:a100:2"],
        ),
    ];
    for (name, words) in kinds {
        let mut sbatch = cluster.command(ALICE, "sbatch")?;
        sbatch
            .env("SLURM_LLM_ADVICE", "0123abcd")
            .env("SLURM_LLM_GPU", "a100")
            .env("SLURM_LLM_TP", "2");
        let output = sbatch
            .arg("--hold")
            .args(words)
            .arg("--wrap=true")
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let log = fs::read_to_string(cluster.prefix().join("log/slurmctld.log"))?;
        let mean = log
            .lines()
            .rev()
            .find_map(|line| line.split_once("mean "))
            .ok_or("nothing in the log")?;
        println!(
            "job_submit.lua, {name:<28} {} (mean of {rounds} calls in slurmctld)",
            mean.1
        );
    }
    Ok(())
}
