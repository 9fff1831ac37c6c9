//! A real Slurm for the length of a test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Error, Output, Result, artifacts, doing, parse_job};

/// Who runs a command. Without root everybody is the calling user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(&'static str);

/// An ordinary user, `alice`.
pub const ALICE: User = User("alice");
/// Another ordinary user, `bob`.
pub const BOB: User = User("bob");
/// Whoever runs the tests: root, or an ordinary user.
pub const OPERATOR: User = User("");

/// Longest wait for a job's end or for a row in accounting.
const PATIENCE: Duration = Duration::from_secs(60);
/// States in which a job will not change any more.
const ENDED: [&str; 10] = [
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "OUT_OF_MEMORY",
    "NODE_FAIL",
    "PREEMPTED",
    "DEADLINE",
    "BOOT_FAIL",
    "REVOKED",
];

/// What kind of cluster to start.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    accounting: bool,
    conf: String,
    nodes: Option<String>,
    beside: Vec<(String, String)>,
}

impl Setup {
    /// With slurmdbd and MariaDB: `sacct` works, and the start takes seconds instead of half a second.
    pub fn accounting(mut self) -> Self {
        self.accounting = true;
        self
    }

    /// Lines to append to `slurm.conf`.
    pub fn conf(mut self, lines: &str) -> Self {
        self.conf.push_str(lines);
        self.conf.push('\n');
        self
    }

    /// A file that lies beside `slurm.conf` before anything starts.
    pub fn beside_slurm_conf(mut self, name: &str, text: &str) -> Self {
        self.beside.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Other nodes than the usual three, as `NAME:GPUTYPE:COUNT` separated by blanks.
    pub fn nodes(mut self, nodes: &str) -> Self {
        self.nodes = Some(nodes.to_owned());
        self
    }

    /// Starts the cluster.
    pub fn start(&self) -> Result<Cluster> {
        sweep();
        let prefix = new_prefix()?;
        let cluster = Cluster {
            prefix,
            scripts: AtomicU32::new(0),
        };
        cluster.up(self)?;
        Ok(cluster)
    }
}

/// A running cluster in a folder of its own. Dropping it ends every process and deletes the folder.
#[derive(Debug)]
pub struct Cluster {
    prefix: PathBuf,
    scripts: AtomicU32,
}

impl Cluster {
    /// A cluster without accounting.
    pub fn start() -> Result<Self> {
        Setup::default().start()
    }

    /// A cluster with accounting.
    pub fn with_accounting() -> Result<Self> {
        Setup::default().accounting().start()
    }

    /// The folder that holds everything of this cluster.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The cluster's `slurm.conf`.
    pub fn conf(&self) -> PathBuf {
        self.prefix.join("etc/slurm.conf")
    }

    /// The release of Slurm, as (24, 11) for 24.11.5.
    pub fn release(&self) -> (u32, u32) {
        let told = self.run(OPERATOR, "sinfo", &["-V"]);
        let told = told.map(|output| output.stdout).unwrap_or_default();
        let mut numbers = told
            .trim_start_matches(|c: char| !c.is_ascii_digit())
            .split('.');
        let mut next = || {
            numbers
                .next()
                .and_then(|n| n.trim().parse().ok())
                .unwrap_or(0)
        };
        (next(), next())
    }

    fn up(&self, setup: &Setup) -> Result<()> {
        for (name, text) in &setup.beside {
            self.file(&format!("etc/{name}"), text)?;
        }
        let mut command = script("up.sh");
        command
            .arg("--quiet")
            .arg("--owner")
            .arg(std::process::id().to_string());
        if !setup.accounting {
            command.arg("--no-accounting");
        }
        if let Some(nodes) = &setup.nodes {
            command.arg("--nodes").arg(nodes);
        }
        if !setup.conf.is_empty() {
            let file = self.file("extra.conf", &setup.conf)?;
            command.arg("--conf").arg(file);
        }
        execute(command.arg(&self.prefix))?.success().map(drop)
    }

    /// Ends the cluster, and tells when that failed. Dropping does the same silently.
    pub fn stop(self) -> Result<()> {
        let result = down(&self.prefix);
        std::mem::forget(self);
        result
    }

    /// Writes a file below the cluster's folder, readable by all; makes its folders.
    pub fn file(&self, path: &str, text: &str) -> Result<PathBuf> {
        let path = self.prefix.join(path);
        if let Some(folder) = path.parent() {
            doing(
                format!("make {}", folder.display()),
                fs::create_dir_all(folder),
            )?;
        }
        doing(format!("write {}", path.display()), fs::write(&path, text))?;
        Ok(path)
    }

    /// Copies a program into `PREFIX/bin`, which is on the `PATH` of all users' commands and jobs.
    pub fn install(&self, program: &Path, name: &str) -> Result<PathBuf> {
        self.copy(program, &format!("bin/{name}"))
    }

    /// Copies the plugin and its library to where every user can read them, and loads the plugin by `optional` from now on.
    pub fn plugin(&self, arguments: &str) -> Result<PathBuf> {
        self.copy(&artifacts::advisor()?, "lib/omnipilot_advisor.so")?;
        let copy = self.copy(&artifacts::plugin()?, "lib/spank_omnipilot.so")?;
        self.plugstack(&format!("optional {} {arguments}", copy.display()))?;
        Ok(copy)
    }

    /// Replaces the cluster's plugstack entry by this text. Commands and jobs read it afresh each time.
    pub fn plugstack(&self, text: &str) -> Result<()> {
        self.file("plugstack.d/omnipilot.conf", &format!("{text}\n"))
            .map(drop)
    }

    fn copy(&self, from: &Path, to: &str) -> Result<PathBuf> {
        let to = self.prefix.join(to);
        let folder = to.parent().unwrap_or(&self.prefix);
        doing(
            format!("make {}", folder.display()),
            fs::create_dir_all(folder),
        )?;
        doing(
            format!("copy {} to {}", from.display(), to.display()),
            fs::copy(from, &to),
        )?;
        doing(
            "set permissions",
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)),
        )?;
        Ok(to)
    }

    /// A user's own working folder, in which commands start and jobs write their output.
    pub fn work(&self, user: User) -> Result<PathBuf> {
        let folder = self.prefix.join("work").join(user.name());
        if !folder.exists() {
            execute(Command::new("mkdir").arg("-p").arg(&folder))?.success()?;
            if user.changes() {
                execute(
                    Command::new("chown")
                        .arg(format!("{}:", user.0))
                        .arg(&folder),
                )?
                .success()?;
            }
        }
        Ok(folder)
    }

    /// A command as this user would type it: own environment, own folder, this cluster's Slurm.
    pub fn command(&self, user: User, program: &str) -> Result<Command> {
        let mut command = user.command(program);
        let bin = self.prefix.join("bin");
        command
            .env_clear()
            .env(
                "PATH",
                format!(
                    "{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                    bin.display()
                ),
            )
            .env("SLURM_CONF", self.conf())
            .env("LC_ALL", "C.UTF-8")
            .env("USER", user.name())
            .env("HOME", self.work(user)?)
            .env("SHELL", "/bin/bash")
            .current_dir(self.work(user)?)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command as this user and gives what it wrote.
    pub fn run(&self, user: User, program: &str, arguments: &[&str]) -> Result<Output> {
        execute(self.command(user, program)?.args(arguments))
    }

    /// Submits a script with `sbatch`. A text without `#!` becomes a bash script. The files are kept in [`Cluster::work`].
    pub fn sbatch(&self, user: User, arguments: &[&str], text: &str) -> Result<Output> {
        let script = self.script(user, text)?;
        execute(self.command(user, "sbatch")?.args(arguments).arg(script))
    }

    /// Writes a batch script into the user's folder.
    pub fn script(&self, user: User, text: &str) -> Result<PathBuf> {
        let name = format!("job-{}.sh", self.scripts.fetch_add(1, Ordering::Relaxed));
        let path = self.work(user)?.join(name);
        let head = if text.starts_with("#!") {
            ""
        } else {
            "#!/bin/bash\n"
        };
        doing(
            format!("write {}", path.display()),
            fs::write(&path, format!("{head}{text}\n")),
        )?;
        doing(
            "set permissions",
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)),
        )?;
        Ok(path)
    }

    /// What `scontrol show job` says of a job.
    pub fn show_job(&self, id: u32) -> Result<BTreeMap<String, String>> {
        let output = self
            .run(OPERATOR, "scontrol", &["show", "job", &id.to_string()])?
            .success()?;
        Ok(parse_job(&output.stdout))
    }

    /// Waits until a job has ended, at most a minute, and gives its fields.
    pub fn wait_job(&self, id: u32) -> Result<BTreeMap<String, String>> {
        self.wait_for(id, &ENDED)
    }

    /// Waits until a job is in one of these states, at most a minute, and gives its fields.
    pub fn wait_for(&self, id: u32, states: &[&str]) -> Result<BTreeMap<String, String>> {
        let begun = Instant::now();
        loop {
            let job = self.show_job(id)?;
            let state = job.get("JobState").map_or("", String::as_str);
            if states.contains(&state) {
                return Ok(job);
            }
            if begun.elapsed() > PATIENCE {
                return Err(Error::new(format!("job {id} is still {state}: {job:?}")));
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a job has ended, and gives its fields.
    ///
    /// # Errors
    /// It did not complete; the error holds its fields and what it wrote.
    pub fn completed(&self, id: u32) -> Result<BTreeMap<String, String>> {
        let job = self.wait_job(id)?;
        if job.get("JobState").map(String::as_str) == Some("COMPLETED") {
            return Ok(job);
        }
        let wrote = self
            .job_output(id)
            .unwrap_or_else(|error| error.to_string());
        Err(Error::new(format!("not completed: {job:?}\n{wrote}")))
    }

    /// What a job wrote to its output file.
    pub fn job_output(&self, id: u32) -> Result<String> {
        let path = self.show_job(id)?.remove("StdOut").unwrap_or_default();
        doing(format!("read {path}"), fs::read_to_string(&path))
    }

    /// The columns of one ended job from accounting; waits until they have arrived, at most a minute.
    ///
    /// The end of a short job can reach slurmdbd before its start: for about two seconds the row then says user root, uid 0, job
    /// name "allocation" and no partition. Only a row with a partition is whole.
    pub fn sacct(&self, id: u32, columns: &[&str]) -> Result<BTreeMap<String, String>> {
        let begun = Instant::now();
        let wanted = format!("State,Partition,{}", columns.join(","));
        let arguments = [
            "-a",
            "-X",
            "-n",
            "-P",
            "--delimiter=\x1f",
            "-j",
            &id.to_string(),
            "-o",
            &wanted,
        ];
        loop {
            let output = self.run(OPERATOR, "sacct", &arguments)?.success()?;
            let row: Vec<&str> = output.stdout.trim_end_matches('\n').split('\x1f').collect();
            if row.len() == columns.len() + 2 && has_ended(row[0]) && !row[1].is_empty() {
                let fields = columns.iter().zip(&row[2..]);
                return Ok(fields
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Error::new(format!(
                    "job {id} did not arrive in accounting: {output}"
                )));
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// The processes that carry this cluster's `SLURM_CONF` in their environment: its daemons and its jobs.
    pub fn processes(&self) -> Vec<u32> {
        processes_of(&self.conf())
    }

    /// Waits until no process of the cluster is left but these, at most ten seconds, and gives those that are.
    ///
    /// A process that was killed, or whose mount went away, ends when it is next given the processor.
    pub fn left_beside(&self, before: &[u32]) -> Vec<u32> {
        let begun = Instant::now();
        loop {
            let mut left = self.processes();
            left.retain(|pid| !before.contains(pid));
            if left.is_empty() || begun.elapsed() > Duration::from_secs(10) {
                return left;
            }
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_logs();
        }
        drop(down(&self.prefix));
    }
}

impl Cluster {
    /// On a failed test the last errors of the daemons go to its output.
    fn tell_logs(&self) {
        for name in ["slurmctld", "slurmd-a1", "slurmd-h1", "slurmd-h2"] {
            let text = fs::read_to_string(self.prefix.join("log").join(format!("{name}.log")))
                .unwrap_or_default();
            let errors: Vec<&str> = text
                .lines()
                .filter(|line| line.contains("error:") && !line.contains("mpi/pmix"))
                .collect();
            for line in errors.iter().rev().take(5).rev() {
                eprintln!("{name}: {line}");
            }
        }
    }
}

impl User {
    /// The account's name.
    pub fn name(self) -> String {
        if self.changes() {
            self.0.to_owned()
        } else {
            caller()
        }
    }

    /// Whether running as this user takes another account than the caller's.
    fn changes(self) -> bool {
        !self.0.is_empty() && is_root()
    }

    fn command(self, program: &str) -> Command {
        if !self.changes() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        let group = Command::new("id")
            .args(["-g", self.0])
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default();
        let group = String::from_utf8_lossy(&group).trim().to_owned();
        command
            .arg(format!("--reuid={}", self.0))
            .arg(format!("--regid={group}"))
            .args(["--init-groups", program]);
        command
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn caller() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
    user.ok()
        .flatten()
        .map_or_else(|| "nobody".to_owned(), |user| user.name)
}

fn has_ended(state: &str) -> bool {
    ENDED.iter().any(|ended| state.starts_with(ended))
}

fn execute(command: &mut Command) -> Result<Output> {
    let line = format!("{command:?}");
    let output = doing(format!("run {line}"), command.output())?;
    Ok(Output {
        command: line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn script(name: &str) -> Command {
    let mut command = Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("cluster")
            .join(name),
    );
    command.stdin(Stdio::null());
    command
}

fn down(prefix: &Path) -> Result<()> {
    execute(script("down.sh").args(["--wipe", "--quiet"]).arg(prefix))?
        .success()
        .map(drop)
}

/// The folder below which all test clusters of this user lie; other users must be able to enter it.
fn parent() -> PathBuf {
    std::env::temp_dir().join(format!("omnipilot-e2e-{}", nix::unistd::geteuid()))
}

/// Makes the parent folder. Its name is known to all, so somebody else may have made it first: that is refused.
fn own_parent() -> Result<()> {
    let parent = parent();
    doing(
        format!("make {}", parent.display()),
        fs::create_dir_all(&parent),
    )?;
    let data = doing(
        format!("look at {}", parent.display()),
        fs::symlink_metadata(&parent),
    )?;
    if data.is_dir() && data.uid() == nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    Err(Error::new(format!(
        "{} belongs to somebody else",
        parent.display()
    )))
}

/// A folder that names its owner by pid and start time.
fn new_prefix() -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let pid = std::process::id();
    let began = start_time(pid).ok_or_else(|| Error::new("cannot read /proc/self/stat"))?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    own_parent()?;
    let prefix = parent().join(format!("{pid}.{began}.{number}"));
    doing(
        format!("make {}", prefix.display()),
        fs::create_dir_all(&prefix),
    )?;
    Ok(prefix)
}

/// Ends what tests that were killed, together with their watchdog, have left behind.
fn sweep() {
    let Ok(entries) = fs::read_dir(parent()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_ours(&entry) && owner_is_gone(&name) {
            drop(down(&entry.path()));
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn is_ours(entry: &fs::DirEntry) -> bool {
    entry
        .metadata()
        .is_ok_and(|data| data.is_dir() && data.uid() == nix::unistd::geteuid().as_raw())
}

fn owner_is_gone(name: &str) -> bool {
    let mut parts = name.split('.');
    let pid = parts.next().and_then(|pid| pid.parse().ok());
    let began = parts.next();
    pid.is_some_and(|pid| start_time(pid).as_deref() != began)
}

/// A process's start time in clock ticks since boot, field 22 of its `stat`.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19).map(str::to_owned)
}

fn processes_of(conf: &Path) -> Vec<u32> {
    let entry = format!("SLURM_CONF={}", conf.display());
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == entry.as_bytes())
    })
    .collect()
}
