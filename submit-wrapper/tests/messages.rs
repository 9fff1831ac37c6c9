//! Every message that a user can provoke without a Slurm, in one file that is read by eye:
//! `tests/messages.txt`. Where a message changes, `UPDATE_MESSAGES=1 cargo test -p submit-wrapper --test messages` writes
//! the file anew, and the difference is what is reviewed.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::fmt::Write;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

const REVIEWED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages.txt");
const FIGURES: &str = include_str!("../../model-store/store/data/published-figures.csv");

/// A site with a store, and broken things beside it.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        site.configuration("omnipilot.toml", "");
        assert!(
            site.command("init")
                .arg("--figures-only")
                .status()
                .unwrap()
                .success()
        );
        site.put("snapshot.broken", "OMNPSNAPnonsense");
        site.put("empty.csv", "");
        site.put("alien.json", "{\"a\": 1}");
        site.put("not.json", "{");
        site.put(
            "cases.csv",
            &FIGURES.lines().take(4).collect::<Vec<_>>().join("\n"),
        );
        site.put(
            "long.csv",
            &format!(
                "{}\n{}",
                FIGURES.lines().next().unwrap(),
                "x".repeat(2 << 20)
            ),
        );
        site.put("notastore.db", "this is text, and no database at all");
        site.put("empty.db", "");
        fs::write(site.dir.path().join("newer.db"), newer(&site)).unwrap();
        site.put(
            "hqq.json",
            "{\"model_type\": \"llama\", \"quantization_config\": {\"quant_method\": \"hqq\"}}",
        );
        site.put("mamba.json", "{\"model_type\": \"llama\", \"hidden_size\": 64, \"num_attention_heads\": 8, \"num_hidden_layers\": 2, \"vocab_size\": 100, \"mamba_d_state\": 16}");
        site.put("cl100k.json", "{\"hidden_size\": 10}");
        site
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// A configuration with further lines.
    fn configuration(&self, name: &str, more: &str) {
        let dir = self.path();
        self.put(
            name,
            &format!("store = \"{dir}/store.db\"\nsnapshot = \"{dir}/model.snapshot\"\nspool = \"{dir}/spool\"\n{more}\n"),
        );
    }

    /// The words of a line as a shell splits them at blanks; `DIR` is the site's folder.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omnipilot"));
        let line = line.replace("DIR", self.path());
        if !line.contains("--config") && !line.contains("--store") {
            command
                .arg("--config")
                .arg(self.dir.path().join("omnipilot.toml"));
        }
        command.args(line.split(' ').filter(|w| !w.is_empty()));
        command
            .env_clear()
            .env("PATH", "/no/such/folder")
            .env("LC_ALL", "C");
        command.current_dir(self.dir.path());
        command
    }

    /// What the line says, with its exit code.
    fn told(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let mut text = format!("$ omnipilot {line}\n");
        for stream in [output.stdout, output.stderr] {
            text += &String::from_utf8_lossy(&stream).replace(self.path(), "DIR");
        }
        writeln!(text, "exit {}\n", output.status.code().unwrap()).unwrap();
        text
    }
}

/// A store whose schema number is that of a later release: four bytes of SQLite's header from byte 60.
fn newer(site: &Site) -> Vec<u8> {
    let mut bytes = fs::read(site.dir.path().join("store.db")).unwrap();
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    bytes
}

/// A wrong line of the configuration each.
const WRONG: [&str; 26] = [
    "stroe = \"x\"",
    "engine = \"nosuch\"",
    "time_limit_ms = 0",
    "on_fault = \"forbid\"",
    "[gpu.a100]\nis = \"B17\"",
    "[gpu.a100]\nprice_per_hour = -3",
    "[gpu.a100]\nmem_per_gpu = \"many\"",
    "[gpu.a100]\nprices = 3",
    "[rewrite]\ngpus = \"gpu\"",
    "[[policy]]\nmode = \"maybe\"",
    "[utility]\nprice_per_kwh = 0.3",
    "[training]\nagreement = 0.5",
    "spool = 5",
    "time_limit_ms = \"5\"",
    "time_limit_ms = -5",
    "on_fault = refuse",
    "[gpus.h100]\nis = \"H100-SXM\"",
    "[gpu.h100]\ncpus_per_gpu = \"many\"",
    "[gpu.h100]\nfeatures = \"sxm\"",
    "[policy]\nmode = \"off\"",
    "[[policy]]\npartition = \"x\"",
    "[utility]\nweights = { token = 1 }",
    "[utility]\nlearn = 1",
    "[training]\nlongest_age = 3",
    "[probe]\ngpu_hour = 3",
    "[gpu.h100",
];

/// A wrong model of the configuration each, which publishing finds.
const WRONG_MODELS: [&str; 2] = [
    "[model.\"our/x\"]\nconfig = \"/no/such/config.json\"",
    "[model.\"our/x\"]\ncheckpoints = { fp9 = \"/x\" }",
];

/// Command lines, on a site without a snapshot and without Slurm.
const LINES: [&str; 71] = [
    "",
    "nosuch",
    "advise --nosuch",
    "--config DIR/nosuch.toml observe",
    "--store DIR/nosuch.db train",
    "--store DIR/notastore.db train",
    "--store DIR/empty.db train",
    "--store DIR/spool train",
    "advise --model x",
    "advise",
    "advise --model= ",
    "advise --model x --isl 0",
    "advise --model x --isl many",
    "advise --model x --concurrency -1",
    "advise --model x --rate 0",
    "advise --model x --slo ttft",
    "advise --model x --slo ttft=fast",
    "advise --model x --slo speed=5",
    "advise --model x --tp 0",
    "advise --model x --precision fp9",
    "advise --model x --advice maybe",
    "explain",
    "explain --job 1",
    "explain --request DIR/nosuch.json",
    "explain --request DIR/not.json",
    "explain --request DIR/alien.json",
    "observe",
    "ingest",
    "setup",
    "models compare x",
    "models rollback",
    "models rollback x",
    "models add DIR/nosuch",
    "models add DIR/not.json",
    "models add DIR/cl100k.json",
    "models add DIR/mamba.json",
    "models add DIR/hqq.json",
    "predict --input DIR/cases.csv --output DIR/out.csv",
    "import DIR/nosuch.csv",
    "import DIR/empty.csv",
    "import DIR/alien.json",
    "import DIR/not.json",
    "import DIR/long.csv",
    "import --format nosuch DIR/cases.csv",
    "import --format runs-csv --precision fp9 DIR/cases.csv",
    "import --format runs-jsonl DIR/cases.csv",
    "import --format runs-parquet DIR/cases.csv",
    "export runs --output DIR/nosuch/runs.csv",
    "evaluate --only nosuch",
    "evaluate --data DIR/nosuch.csv",
    "run",
    "submit DIR/nosuch.sh",
    "advise --model x x",
    "observe --gpus h100",
    "observe --gpus h100:8,h100:4",
    "store backup",
    "store backup DIR/store.db",
    "store backup DIR/nosuch/copy.db",
    "store restore DIR/nosuch.db",
    "store restore DIR/notastore.db",
    "--store DIR/newer.db train",
    "export runs --json",
    "export runs --format xml",
    "export sbatch",
    "export metrics --output DIR/nosuch/page.prom",
    "import DIR",
    "import DIR/nosuch.csv DIR/empty.csv",
    "probe run --gpu-hours -1",
    "evaluate --folds 1",
    "models cards no-such-name",
    "report --output DIR/nosuch/report.html",
];

/// The same, once a snapshot is published that knows no GPU of a cluster.
const PUBLISHED: [&str; 9] = [
    "advise --model meta-llama/Llama-3.1-8B-Instruct",
    "advise --model meta-llama/Lama-3.1-8B-Instruct",
    "advise --model DIR/nosuch",
    "predict --input DIR/nosuch.csv --output DIR/out.csv",
    "predict --input DIR/cases.csv --output DIR/nosuch/out.csv",
    "models rollback",
    "export sbatch --model google/flan-ul2",
    "export vec-inf --model meta-llama/Llama-3.1-8B-Instruct",
    "report --output DIR/nosuch/report.html",
];

/// The same, once the GPUs are stated too.
const STATED: [&str; 18] = [
    "advise nosuch",
    "advise --model meta-llama/Lama-3.1-8B-Instruct",
    "advise --model DIR/nosuch",
    "advise --model DIR/cl100k.json",
    "advise --model DIR/hqq.json",
    "advise --model llama-70b",
    "advise --model Qwen3-32B-GGUF",
    "advise --model meta-llama/Llama-3.1-70B-Instruct --gpu b200",
    "advise --model meta-llama/Llama-3.1-70B-Instruct --gpu h100 --tp 3",
    "advise --model meta-llama/Llama-3.1-70B-Instruct --tp 16",
    "export sbatch --model google/flan-ul2",
    "export vec-inf --model nosuch",
    "submit --model nosuch DIR/serve.sh",
    "explain 1234abcd",
    "explain nosuch",
    "explain --request DIR/not.json",
    "explain --request DIR/alien.json",
    "explain",
];

fn collected(site: &Site) -> String {
    let mut all = String::from(
        "# Written by tests/messages.rs and reviewed by eye; DIR is the site's folder.\n\n",
    );
    for more in WRONG {
        site.configuration("wrong.toml", more);
        writeln!(all, "# {}", more.replace('\n', ", ")).unwrap();
        all += &site.told("--config DIR/wrong.toml observe");
    }
    LINES.iter().for_each(|line| all += &site.told(line));
    fs::rename(
        site.dir.path().join("snapshot.broken"),
        site.dir.path().join("model.snapshot"),
    )
    .unwrap();
    all += &site.told("advise --model x");
    all += &site.told("observe");
    fs::remove_file(site.dir.path().join("model.snapshot")).unwrap();
    assert!(site.command("train").output().unwrap().status.success());
    PUBLISHED.iter().for_each(|line| all += &site.told(line));
    all += &site.told("observe --gpus h100:8,h200:8x2,b17:4");
    for more in WRONG_MODELS {
        site.configuration("wrong.toml", more);
        writeln!(all, "# {}", more.replace('\n', ", ")).unwrap();
        all += &site.told("--config DIR/wrong.toml observe --gpus h100:8");
    }
    STATED.iter().for_each(|line| all += &site.told(line));
    all
}

#[test]
fn every_message_is_the_one_that_was_reviewed() {
    let site = Site::new();
    let now = collected(&site);
    if std::env::var_os("UPDATE_MESSAGES").is_some() {
        fs::write(REVIEWED, &now).unwrap();
    }
    in_style(&now);
    let reviewed = fs::read_to_string(REVIEWED).unwrap_or_default();
    let differing = now.lines().zip(reviewed.lines()).find(|(a, b)| a != b);
    assert!(
        now == reviewed,
        "first difference: {differing:#?}; `UPDATE_MESSAGES=1` writes the file anew"
    );
}

/// Our own messages begin in lower case, end without a period, and a failure has a hint.
fn in_style(all: &str) {
    for case in all.split("\n\n").filter(|c| c.contains("$ omnipilot ")) {
        let ours: Vec<&str> = case
            .lines()
            .filter_map(|l| l.strip_prefix("omnipilot: "))
            .collect();
        for line in &ours {
            let words = line.trim_start().trim_start_matches("hint: ");
            let first = words.chars().next().unwrap();
            assert!(
                !first.is_uppercase() || words.starts_with("Slurm") || words.starts_with("DIR/"),
                "{line}"
            );
            assert!(!words.ends_with('.') || words.ends_with("..."), "{line}");
        }
        let failed = !case.ends_with("exit 0") && !ours.is_empty();
        let several = ours.iter().any(|l| l.contains("were not imported"));
        assert!(
            !failed || several || ours.iter().any(|l| l.contains("hint: ")),
            "no hint: {case}"
        );
    }
}
