//! Batch scripts as people write them, each with what is to become of it: the decision that the
//! plugin carries out and `omnipilot submit --dry-run` must say so, and the same. And when Slurm's own
//! word on the changed form counts.
#![allow(clippy::unwrap_used, reason = "a failed test is to stop")]

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use model_store::config::Config;
use model_store::decision::{Decision, Submission, decide};
use model_store::job_request::Given;
use model_store::options::RawOptions;
use model_store::reading::{Variables, components, parts};
use model_store::snapshot::Snapshot;
use model_store::startable::Who;

const REQUEST: [(&str, &str); 3] = [
    ("llm-isl", "500"),
    ("llm-osl", "200"),
    ("llm-concurrency", "32"),
];

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-store/tests/jobs")
}

/// A script, and what its head says of it.
struct Job {
    name: String,
    text: String,
    expected: String,
    model: String,
    arguments: Vec<String>,
}

fn jobs() -> Vec<Job> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(scripts())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "sh"))
        .collect();
    files.sort();
    let job = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let said = |key: &str| {
            let head = format!("# {key}: ");
            text.lines()
                .find_map(|l| l.strip_prefix(&head))
                .unwrap_or_default()
                .to_owned()
        };
        Job {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            expected: said("expect"),
            model: said("model"),
            arguments: said("arguments")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            text,
        }
    };
    files.into_iter().map(job).collect()
}

/// A store of the published figures, and a site of three GPU types.
fn site(folder: &Path) -> PathBuf {
    let store = folder.join("s.db");
    for words in [
        &["init", "--figures-only"][..],
        &["observe", "--gpus", "a100:8x2,h100:8x2,h200:8x2"],
        &["train"],
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_omnipilot"))
            .arg("--store")
            .arg(&store)
            .args(words)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    store
}

/// What becomes of a job: in one word or two, with its options and variables.
#[derive(Debug, PartialEq)]
struct Fate {
    what: String,
    options: Vec<String>,
    variables: BTreeMap<String, String>,
    reason: String,
}

/// By the road of the plugin.
fn by_plugin(store: &Path, job: &Job) -> Fate {
    let config = Config::beside_store(store);
    let snapshot = Snapshot::read(&config.snapshot).unwrap();
    let mut options = RawOptions::default();
    for (name, value) in REQUEST
        .into_iter()
        .chain([("llm-model", job.model.as_str())])
    {
        options.set(name, value).unwrap();
    }
    let all = components(parts(&[]), Some(&job.text));
    let given = Given::of(|name| all[0].value(name, Variables::UNKNOWN));
    let submission = Submission {
        options: &options,
        given: &given,
        script: Some(&job.text),
        arguments: Some(&job.arguments),
        read: &|name| std::fs::read_to_string(scripts().join(name)).ok(),
        environment: &|_| None,
        component: 0,
        who: &Who::default(),
    };
    let (what, options, variables, reason) = match decide(&snapshot, &config, &submission) {
        Decision::Rewrite {
            edits,
            environment,
            message,
            ..
        } => {
            let set = edits
                .into_iter()
                .filter_map(|e| Some(format!("--{}={}", e.name, e.value?)));
            (
                "rewritten".to_owned(),
                set.collect(),
                environment,
                message.join(" "),
            )
        }
        Decision::Left { reason } => ("left".into(), Vec::new(), Vec::new(), reason),
        Decision::Refuse { code, message } => (
            format!("refused {code}"),
            Vec::new(),
            Vec::new(),
            message.join(" "),
        ),
        other => (format!("{other:?}"), Vec::new(), Vec::new(), String::new()),
    };
    Fate {
        what,
        options,
        variables: variables
            .into_iter()
            .filter(|(_, v)| !v.is_empty())
            .collect(),
        reason,
    }
}

/// By `omnipilot submit --dry-run`.
fn by_submit(store: &Path, job: &Job) -> Fate {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omnipilot"));
    command
        .current_dir(scripts())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .arg("--store")
        .arg(store)
        .args(["submit", "--dry-run", "--json"])
        .arg(format!("--llm-model={}", job.model));
    for (name, value) in REQUEST {
        command.arg(format!("--{name}={value}"));
    }
    let out = command
        .arg(format!("./{}", job.name))
        .args(&job.arguments)
        .output()
        .unwrap();
    let reason = String::from_utf8_lossy(&out.stderr).into_owned();
    let Some(0) = out.status.code() else {
        let what = format!("refused {}", out.status.code().unwrap());
        return Fate {
            what,
            options: Vec::new(),
            variables: BTreeMap::new(),
            reason,
        };
    };
    let told: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let words = told["sbatch"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w.as_str().unwrap().to_owned());
    let options: Vec<String> = words
        .filter(|w| w.starts_with("--") && !w.starts_with("--comment=") && w != "--constraint=")
        .collect();
    let variables = serde_json::from_value(told["environment"].clone()).unwrap();
    let what = if reason.contains("goes as written") {
        "left"
    } else {
        "rewritten"
    };
    Fate {
        what: what.into(),
        options,
        variables,
        reason,
    }
}

fn number(fate: &Fate) -> Option<u32> {
    let gpus = |o: &&String| o.starts_with("--gres=gpu:") || o.starts_with("--gpus");
    let option = fate.options.iter().find(gpus)?;
    option.rsplit([':', '=']).next()?.parse().ok()
}

/// GPUs of a node, as `h200:4`: by the form of the plugin and by that of a directive it is the same.
fn gpus(fate: &Fate) -> Option<&str> {
    let named = |o: &String| o.starts_with("--gres=gpu:") || o.starts_with("--gpus");
    let option = fate.options.iter().find(|o| named(o))?;
    let value = option.split_once('=')?.1;
    Some(value.strip_prefix("gpu:").unwrap_or(value))
}

/// Variables that only tell what Slurm tells by itself where the form stays are left out.
fn told(fate: &Fate) -> Vec<(&String, &String)> {
    fate.variables
        .iter()
        .filter(|(name, value)| !(name.starts_with("SLURM_GPUS") && value.contains(':')))
        .collect()
}

/// Why a fate is not what a script expects; `None` where it is.
fn wrong(job: &Job, fate: &Fate) -> Option<String> {
    let (kind, rest) = job.expected.split_once(' ').unwrap_or((&job.expected, ""));
    let advised = fate.variables.contains_key("SLURM_LLM_TP");
    let left = fate.what == "left";
    let as_many = || left || number(fate) == rest.parse().ok();
    let right = match kind {
        // The number of GPUs stays, whatever becomes of their type.
        "number" => as_many(),
        // Neither does their type.
        "type" => left || gpus(fate).is_some_and(|g| g == rest.replace(' ', ":")),
        "gpus" => fate.what == "rewritten" && as_many() && advised,
        "free" => fate.what == "rewritten" && advised,
        "told" => {
            fate.variables.get(rest).and_then(|v| v.parse().ok()) == number(fate)
                && number(fate).is_some()
        }
        "left" => left && fate.reason.contains(rest),
        _ => fate.what == job.expected,
    };
    (!right).then(|| format!("{}: expected {}, {fate:?}", job.name, job.expected))
}

#[test]
fn every_script_is_treated_as_it_deserves_on_both_roads() {
    let folder = tempfile::tempdir().unwrap();
    let store = site(folder.path());
    let mut faults = Vec::new();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for job in jobs() {
        let (plugin, submit) = (by_plugin(&store, &job), by_submit(&store, &job));
        faults.extend(wrong(&job, &plugin));
        faults.extend(wrong(&job, &submit));
        let same = plugin.what == submit.what
            && gpus(&plugin) == gpus(&submit)
            && told(&plugin) == told(&submit);
        if !same {
            faults.push(format!(
                "{}: the roads differ: {plugin:?} {submit:?}",
                job.name
            ));
        }
        let stays = plugin.reason.contains("number of GPUs stays as asked");
        let fully = plugin.variables.contains_key("SLURM_LLM_TP") && !stays;
        *counts
            .entry(match plugin.what.as_str() {
                "rewritten" if fully => "fully",
                "rewritten" => "in type alone",
                "left" => "as written",
                _ => "refused",
            })
            .or_default() += 1;
    }
    println!("{counts:?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// An `sbatch` that would not take a job on an H100, and shows what it is given.
const SBATCH: &str = "#!/bin/sh
case \"$*\" in
*--test-only*h100*) echo 'sbatch: error: no such node' >&2; exit 1 ;;
*--test-only*) exit 0 ;;
esac
echo \"$@\"
";

#[test]
fn slurms_word_counts_unless_a_policy_enforces_the_advice() {
    let folder = tempfile::tempdir().unwrap();
    let store = site(folder.path());
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("sbatch"), SBATCH).unwrap();
    std::fs::set_permissions(file("sbatch"), Permissions::from_mode(0o755)).unwrap();
    std::fs::write(
        file("job.sh"),
        "#!/bin/bash\nomnipilot run -- vllm serve m\n",
    )
    .unwrap();
    let submitted = |policy: &str| {
        let text = format!(
            "store = {store:?}\nsnapshot = {:?}\nspool = {:?}\n[[policy]]\nmode = \"{policy}\"\n",
            store.with_extension("snapshot"),
            file("spool"),
        );
        std::fs::write(file("site.toml"), text).unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_omnipilot"))
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .args(["--config", "site.toml", "submit", "--llm-gpu=h100"])
            .arg("--llm-model=meta-llama/Llama-3.1-8B-Instruct")
            .args(["--gres=gpu:a100:2", "job.sh"])
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(submitted("rewrite").contains("gpu:a100:2"));
    assert!(submitted("enforce").contains("gpu:h100:"));
}
