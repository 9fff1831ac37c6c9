//! The site's configuration, `/etc/omnipilot/omnipilot.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::advisor::{Economy, GPUS, gpu_name_of_gres, nearest};
use crate::engine_args::EngineKind;
use crate::job_rewrite::{GpuForm, Rules, TypeNames};
use crate::options::shorten;
use crate::policy::{Policies, PolicyEntry};
use crate::prices::PriceEntry;
pub use crate::site_limit::LimitEntry;

/// Where the configuration is looked for when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/omnipilot/omnipilot.toml";

/// Largest configuration file that is read, bytes.
const LARGEST: u64 = 1 << 20;

/// The site's configuration. Every key but the three paths has a default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// SQLite store of past runs, written by the service account.
    pub store: PathBuf,
    /// The published snapshot that the plugin reads.
    pub snapshot: PathBuf,
    /// Directory into which jobs write outcome files.
    pub spool: PathBuf,
    /// Engine that the site runs, as in `vllm`.
    #[serde(default = "default_engine")]
    pub engine: String,
    /// Milliseconds after which the plugin lets the job go as written.
    #[serde(default = "default_time_limit_ms")]
    pub time_limit_ms: u64,
    /// Minutes that a job should have left to serve when its engine has started; a time limit that
    /// leaves less is told at submission.
    #[serde(default = "default_least_serving")]
    pub least_serving_minutes: f64,
    /// Whether the plugin shows a changed job to slurmctld (`sbatch --test-only`) before it goes, within
    /// its time limit. `omnipilot submit` always does.
    #[serde(default)]
    pub ask_slurm: bool,
    /// What a fault (no snapshot, a corrupt one, a time limit) does to a tagged job.
    #[serde(default)]
    pub on_fault: OnFault,
    /// How a rewritten job asks for its GPUs, CPUs and memory.
    #[serde(default)]
    pub rewrite: RewriteEntry,
    /// What advice may do to jobs of a partition, an account or a QOS; the first entry that fits counts.
    #[serde(default)]
    pub policy: Vec<PolicyEntry>,
    /// What jobs may have beside what Slurm tells; every entry that fits counts.
    #[serde(default)]
    pub limit: Vec<LimitEntry>,
    /// Prices by partition, account or QOS, before those of the types.
    #[serde(default)]
    pub price: Vec<PriceEntry>,
    /// Slurm GPU types (gres) by name.
    #[serde(default)]
    pub gpu: BTreeMap<String, GpuEntry>,
    /// Models of the site by the name that users type.
    #[serde(default)]
    pub model: BTreeMap<String, ModelEntry>,
    /// What the operator values beside tokens and prices.
    #[serde(default)]
    pub utility: Economy,
    /// Which runs are trained on.
    #[serde(default)]
    pub training: Training,
    /// How probes are submitted.
    #[serde(default)]
    pub probe: Probes,
}

/// How `omnipilot probe` measures.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probes {
    /// Time limit of one probe, minutes.
    pub minutes: u32,
    /// Seconds of load on an engine that is ready.
    pub load_seconds: u32,
    /// Requests in flight where the request states none.
    pub concurrency: f64,
    /// GPU-hours that one call may ask for, unless it says otherwise.
    pub gpu_hours: f64,
    /// Probes of one array that run at once.
    pub at_once: u32,
    /// Further options for `sbatch`, such as a partition and an account.
    pub sbatch: Vec<String>,
    /// Lines of shell that go before the engine, such as `module load vllm`.
    pub setup: String,
    /// The engine's command; `None` = the engine's usual one.
    pub serve: Option<String>,
    /// The command that loads it; `None` = the engine's own benchmark client.
    pub load: Option<String>,
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            minutes: 30,
            load_seconds: 120,
            concurrency: 64.0,
            gpu_hours: 8.0,
            at_once: 2,
            sbatch: Vec::new(),
            setup: String::new(),
            serve: None,
            load: None,
        }
    }
}

impl Probes {
    /// What the types cannot say.
    fn check(&self) -> Result<(), String> {
        let seconds = u64::from(self.minutes) * 60;
        let sound = self.minutes >= 1
            && self.at_once >= 1
            && u64::from(self.load_seconds) * 2 <= seconds
            && (1.0..=1e6).contains(&self.concurrency)
            && self.gpu_hours > 0.0;
        if sound {
            return Ok(());
        }
        Err(format!(
            "[probe] takes minutes, concurrency, gpu_hours and at_once above 0, and load_seconds up to half of the minutes, not {}, {}, {}, {} and {}",
            self.minutes, self.concurrency, self.gpu_hours, self.at_once, self.load_seconds
        ))
    }
}

/// Which runs are trained on, and how much one user may say.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Runs of this cluster that are older, days, are left out.
    pub longest_age_days: u32,
    /// Most runs of one user in one cell.
    pub runs_per_cell: u32,
    /// Factor by which a run may differ from what all other users measured.
    pub agreement: f64,
    /// Users to whom these limits do not apply, such as the one who runs the site's benchmarks.
    pub trusted_users: Vec<String>,
    /// Users whose runs are left out.
    pub left_out_users: Vec<String>,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            longest_age_days: 730,
            runs_per_cell: 4,
            agreement: 2.0,
            trusted_users: Vec::new(),
            left_out_users: Vec::new(),
        }
    }
}

/// What a fault does to a tagged job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFault {
    /// The job goes as the user wrote it, with one warning line.
    #[default]
    Submit,
    /// The job is refused.
    Refuse,
}

/// One Slurm GPU type.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuEntry {
    /// GPU of the built-in catalogue, such as `H100-SXM`.
    pub is: Option<String>,
    /// Price of one GPU for an hour, in the site's currency.
    pub price_per_hour: Option<f64>,
    /// Node features that choose this type in `--constraint`, beside those that are named like it.
    #[serde(default)]
    pub features: Vec<String>,
    /// CPUs that a rewritten job gets for each GPU of the type.
    pub cpus_per_gpu: Option<u32>,
    /// Memory that a rewritten job gets for each GPU of the type, such as `60G`.
    pub mem_per_gpu: Option<String>,
}

/// How a rewritten job asks for what it was advised.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewriteEntry {
    /// The form of the GPU request.
    #[serde(default)]
    pub gpus: GpuForm,
    /// CPUs for each GPU, for types that say nothing; `None` leaves CPUs as they were asked for.
    pub cpus_per_gpu: Option<u32>,
    /// Memory for each GPU, such as `60G`, for types that say nothing; `None` leaves memory as it
    /// was asked for.
    pub mem_per_gpu: Option<String>,
}

/// One model of the site.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// A Hugging Face `config.json` to make the card from.
    pub config: Option<PathBuf>,
    /// Checkpoints by precision: what the engine is given for that precision.
    #[serde(default)]
    pub checkpoints: BTreeMap<String, String>,
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("{path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason on one line.
        reason: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes =
            crate::snapshot::read_regular(path, LARGEST).map_err(|source| ConfigError::Read {
                path: path.into(),
                source,
            })?;
        let text = String::from_utf8_lossy(&bytes);
        Self::parse(&text).map_err(|reason| ConfigError::Parse {
            path: path.into(),
            reason,
        })
    }

    /// Reads configuration text.
    ///
    /// # Errors
    /// Line and reason, on one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| {
            let line = e
                .span()
                .map(|s| text.bytes().take(s.start).filter(|b| *b == b'\n').count() + 1);
            let reason = in_our_words(&e.message().replace('\n', ", "));
            line.map_or(reason.clone(), |n| format!("line {n}: {reason}"))
        })?;
        config.check()?;
        Ok(config)
    }

    /// What the types cannot say: values that no site can mean.
    fn check(&self) -> Result<(), String> {
        if EngineKind::parse(&self.engine).is_none() {
            let known = EngineKind::ALL.map(EngineKind::name).join(", ");
            return Err(format!(
                "engine `{}` is not known, known are {known}",
                shorten(&self.engine)
            ));
        }
        if self.time_limit_ms == 0 {
            return Err("time_limit_ms is 0, so that no advice would ever be in time".into());
        }
        self.utility
            .check()
            .map_err(|reason| format!("[utility] {reason}"))?;
        let priced = self.gpu.values().any(|g| g.price_per_hour.is_some());
        if self.utility.price_per_kwh.is_some() && !priced {
            return Err("[utility] price_per_kwh without a price_per_hour of a GPU type, so that there is nothing to add it to".into());
        }
        let Training {
            longest_age_days,
            runs_per_cell,
            agreement,
            ..
        } = &self.training;
        if *longest_age_days == 0 || *runs_per_cell == 0 || !(1.0..=1e3).contains(agreement) {
            return Err(format!(
                "[training] takes a longest_age_days and a runs_per_cell from 1, and an agreement from 1 to 1000, not {longest_age_days}, {runs_per_cell} and {agreement}"
            ));
        }
        self.check_rules()?;
        self.limit.iter().try_for_each(LimitEntry::is_sound)?;
        self.price.iter().try_for_each(PriceEntry::is_sound)?;
        self.probe.check()?;
        for (name, entry) in &self.gpu {
            if let Some(price) = entry
                .price_per_hour
                .filter(|p| !(p.is_finite() && *p > 0.0))
            {
                return Err(format!(
                    "price_per_hour of gpu.{name} is {price}, not a positive number"
                ));
            }
            if let Some(is) = entry
                .is
                .as_deref()
                .filter(|is| gpu_name_of_gres(is).is_none())
            {
                let known = GPUS.map(|g| g.name).join(", ");
                return Err(format!(
                    "gpu.{name} is `{}`, which is not in the GPU catalogue: {known}",
                    shorten(is)
                ));
            }
        }
        Ok(())
    }

    /// The rules of `[rewrite]` and of every GPU type must be amounts that Slurm takes.
    fn check_rules(&self) -> Result<(), String> {
        let of_types = self
            .gpu
            .iter()
            .map(|(name, g)| (format!("gpu.{name}"), g.cpus_per_gpu, &g.mem_per_gpu));
        let rewrite = &self.rewrite;
        let all = (
            "rewrite".to_owned(),
            rewrite.cpus_per_gpu,
            &rewrite.mem_per_gpu,
        );
        for (place, cpus, memory) in of_types.chain([all]) {
            if let Some(cpus) = cpus.filter(|n| !(1..=4096).contains(n)) {
                return Err(format!(
                    "cpus_per_gpu of {place} is {cpus}, not a number from 1 to 4096"
                ));
            }
            if let Some(text) = memory.as_deref().filter(|text| mebibytes(text).is_none()) {
                return Err(format!(
                    "mem_per_gpu of {place} is `{}`, not an amount such as 60G",
                    shorten(text)
                ));
            }
        }
        Ok(())
    }

    /// How a job on this GPU type is rewritten. `types` are the GPU types that the cluster has
    /// beside those that the configuration names.
    pub fn rules(&self, gpu: &str, types: &[String]) -> Rules {
        let key = |name: &str| self.gpu.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        let entry = key(gpu).map(|(_, entry)| entry);
        let memory = entry
            .and_then(|e| e.mem_per_gpu.as_deref())
            .or(self.rewrite.mem_per_gpu.as_deref());
        let named = types.iter().chain(self.gpu.keys()).map(|name| TypeNames {
            name: name.clone(),
            features: key(name).map_or_else(Vec::new, |(_, entry)| entry.features.clone()),
        });
        Rules {
            form: self.rewrite.gpus,
            types: named.collect(),
            cpus_per_gpu: entry
                .and_then(|e| e.cpus_per_gpu)
                .or(self.rewrite.cpus_per_gpu),
            mib_per_gpu: memory.and_then(mebibytes),
        }
    }

    /// What the site says about jobs of a place.
    pub fn policies(&self) -> Policies<'_> {
        Policies(&self.policy)
    }

    /// The configuration that `--store DB` alone stands for: snapshot and spool lie beside it.
    pub fn beside_store(store: &Path) -> Self {
        let dir = store.parent().unwrap_or(Path::new("."));
        Self {
            store: store.into(),
            snapshot: store.with_extension("snapshot"),
            spool: dir.join("spool"),
            engine: default_engine(),
            time_limit_ms: default_time_limit_ms(),
            least_serving_minutes: default_least_serving(),
            ask_slurm: false,
            on_fault: OnFault::default(),
            rewrite: RewriteEntry::default(),
            policy: Vec::new(),
            limit: Vec::new(),
            price: Vec::new(),
            gpu: BTreeMap::new(),
            model: BTreeMap::new(),
            utility: Economy::default(),
            training: Training::default(),
            probe: Probes::default(),
        }
    }
}

/// What serde says of a key that nothing knows, with the known one that is nearest to it.
fn in_our_words(reason: &str) -> String {
    if let Some(words) = wrong_type(reason) {
        return words;
    }
    let value = reason.strip_prefix("unknown variant `");
    let Some(rest) = value.or(reason.strip_prefix("unknown field `")) else {
        return reason.to_owned();
    };
    let mut words = rest.split('`');
    let key = shorten(words.next().unwrap_or_default()).to_string();
    let known: Vec<&str> = words.skip(1).step_by(2).collect();
    if value.is_some() {
        return format!("`{key}` is none of {}", known.join(", "));
    }
    match nearest(&key, known.iter().copied()) {
        Some(near) => format!("`{key}` is not a key here; did you mean `{near}`?"),
        None => format!("`{key}` is not a key here, keys are {}", known.join(", ")),
    }
}

/// What serde says of a value of the wrong type, without the names of Rust's types.
fn wrong_type(reason: &str) -> Option<String> {
    if reason.starts_with("string values must be quoted") {
        return Some("a value that is text stands in quotes".into());
    }
    if let Some(key) = reason.strip_prefix("missing field ") {
        return Some(format!("the key {key} is missing here"));
    }
    let (is, wanted) = reason
        .strip_prefix("invalid type: ")
        .or(reason.strip_prefix("invalid value: "))?
        .rsplit_once(", expected ")?;
    let is = match is {
        "map" => "a section or table",
        "sequence" => "a list",
        other => other,
    };
    let wanted = match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        "f32" | "f64" => "a number",
        "a string" | "path string" | "string" => "text in quotes",
        "a sequence" if is == "a section or table" => {
            "a list of sections in double brackets, as in `[[policy]]`,"
        }
        "a sequence" => "a list",
        "a map" => "a section or table",
        "a boolean" => "true or false",
        other => other,
    };
    Some(format!("{is} stands where {wanted} is wanted"))
}

fn default_engine() -> String {
    "vllm".into()
}

const fn default_time_limit_ms() -> u64 {
    500
}

const fn default_least_serving() -> f64 {
    10.0
}

/// An amount of memory as Slurm takes it (`60G`, `61440M`, `61440`), MiB; `None` for anything else
/// and for nothing.
fn mebibytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "M"),
    };
    let factor = match unit.to_ascii_uppercase().as_str() {
        "M" | "MB" => 1,
        "G" | "GB" => 1024,
        "T" | "TB" => 1024 * 1024,
        _ => return None,
    };
    let amount = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    (1..=1 << 40).contains(&amount).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::{Config, mebibytes};
    use crate::job_rewrite::GpuForm;

    #[test]
    fn memory_is_read_as_slurm_reads_it() {
        for (text, mib) in [
            ("60G", 61440),
            ("512", 512),
            ("512M", 512),
            ("1tb", 1 << 20),
        ] {
            assert_eq!(mebibytes(text), Some(mib), "{text}");
        }
        for text in [
            "",
            "0",
            "G",
            "-1",
            "6 G",
            "99999999999999999999",
            "18446744073709551615T",
        ] {
            assert_eq!(mebibytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_type_of_its_own_rules_goes_before_the_sites() {
        let text = "[rewrite]\ngpus = \"gpus-per-node\"\ncpus_per_gpu = 8\nmem_per_gpu = \"60G\"\n\
                    [gpu.A100]\ncpus_per_gpu = 16\nfeatures = [\"sxm-old\"]\n";
        let config = Config::parse(&format!("{PATHS}{text}")).unwrap();
        let rules = config.rules("a100", &["h100".into()]);
        assert_eq!(
            (rules.form, rules.cpus_per_gpu, rules.mib_per_gpu),
            (GpuForm::GpusPerNode, Some(16), Some(61440))
        );
        assert_eq!(config.rules("h100", &[]).cpus_per_gpu, Some(8));
        let names: Vec<&str> = rules.types.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["h100", "A100"]);
        assert_eq!(rules.types[1].features, ["sxm-old"]);
    }

    const PATHS: &str = "store = \"a\"\nsnapshot = \"b\"\nspool = \"c\"\n";

    #[test]
    fn a_key_that_nothing_knows_is_refused_with_the_nearest_known_one() {
        for (text, words) in [
            (
                "stroe = \"x\"",
                "line 4: `stroe` is not a key here; did you mean `store`?",
            ),
            (
                "[gpu.a100]\nprice = 2.0",
                "line 5: `price` is not a key here; did you mean `price_per_hour`?",
            ),
            (
                "[gpu.a100]\nprice_per_hours = 2.0",
                "did you mean `price_per_hour`?",
            ),
            ("[trainings]\nx = 1", "did you mean `training`?"),
            ("[utility.weights]\ntoken = 1", "did you mean `tokens`?"),
            (
                "[[policy]]\nmode = \"off\"\npartitions = \"x\"",
                "did you mean `partition`?",
            ),
            ("[model.x]\nconfigs = \"x\"", "did you mean `config`?"),
        ] {
            let error = Config::parse(&format!("{PATHS}{text}\n")).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn three_paths_are_a_configuration() {
        assert_eq!(Config::parse(PATHS).unwrap().time_limit_ms, 500);
    }

    #[test]
    fn values_that_no_site_can_mean_are_refused_by_name() {
        for (line, reason) in [
            ("engine = \"nosuch\"", "engine `nosuch` is not known"),
            ("time_limit_ms = 0", "time_limit_ms is 0"),
            (
                "[gpu.a100]\nprice_per_hour = -3",
                "price_per_hour of gpu.a100 is -3",
            ),
            (
                "[gpu.a100]\nprice_per_hour = nan",
                "price_per_hour of gpu.a100 is NaN",
            ),
            ("[gpu.x]\nis = \"B17\"", "gpu.x is `B17`"),
            (
                "[utility.weights]\nwait = -1",
                "[utility] the weight of wait is -1",
            ),
            ("[utility]\njob_hours = 0", "[utility] job_hours is 0"),
            (
                "[utility]\nprice_per_kwh = 0.3",
                "[utility] price_per_kwh without a price_per_hour",
            ),
            (
                "[rewrite]\ncpus_per_gpu = 0",
                "cpus_per_gpu of rewrite is 0",
            ),
            (
                "[gpu.a100]\nmem_per_gpu = \"lots\"",
                "mem_per_gpu of gpu.a100 is `lots`",
            ),
            (
                "[[policy]]\nmode = \"forbid\"",
                "line 5: `forbid` is none of",
            ),
            (
                "stor = \"x\"",
                "line 4: `stor` is not a key here; did you mean `store`?",
            ),
            ("[training]\nagreement = 0.5", "[training] takes"),
            ("[training]\nruns_per_cell = 0", "[training] takes"),
            ("[probe]\nminutes = 1\nload_seconds = 31", "[probe] takes"),
            ("[probe]\nconcurrency = nan", "[probe] takes"),
        ] {
            let error = Config::parse(&format!("{PATHS}{line}\n")).unwrap_err();
            assert!(error.starts_with(reason), "{error}");
        }
    }
}
