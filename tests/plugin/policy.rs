//! What a site lets advice do, by partition, account and QOS.

use e2e::{ALICE, Output};

use crate::site::{MODEL, Site, gpus};

const POLICY: &str = "\
[[policy]]
account = \"bench\"
mode = \"off\"
[[policy]]
partition = \"serve\"
qos = [\"high\", \"urgent\"]
mode = \"enforce\"
[[policy]]
qos = \"low\"
mode = \"advise\"
";
const PINS: [&str; 4] = [MODEL, "--llm-gpu=h100", "--llm-tp=2", "--gres=gpu:a100:8"];

fn held(site: &Site, more: &[&str]) -> Output {
    site.cluster
        .sbatch(ALICE, &[&PINS[..], &["--hold"], more].concat(), "true")
        .unwrap()
}

fn asks_for(site: &Site, more: &[&str]) -> String {
    let output = held(site, more);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output}");
    gpus(&site.cluster.show_job(output.id().unwrap()).unwrap())
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn each_job_is_under_the_policy_of_its_names() {
    let site = Site::start();
    site.configure(POLICY);
    assert_eq!(asks_for(&site, &[]), "gpu:h100:2", "no entry fits");
    assert_eq!(asks_for(&site, &["--account=bench"]), "gpu:a100:8");
    assert_eq!(asks_for(&site, &["--qos=low"]), "gpu:a100:8");
    assert_eq!(asks_for(&site, &["--qos=high"]), "gpu:h100:2");
    assert_eq!(
        asks_for(&site, &["-p", "serve", "-q", "urgent"]),
        "gpu:h100:2"
    );
    assert_eq!(asks_for(&site, &["--llm-advice=off"]), "gpu:a100:8");

    let off = site.held(&[&PINS[..], &["--account=bench"]].concat(), "true");
    assert_eq!(off.get("Comment"), None, "as without a tag");
    let advised = site.held(&[&PINS[..], &["--qos=low"]].concat(), "true");
    assert!(
        advised["Comment"].starts_with("omnipilot:"),
        "its outcome is learnt from"
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn where_advice_is_enforced_nothing_gets_round_it() {
    let site = Site::start();
    site.configure(POLICY);
    for more in [
        &["--qos=high", "--llm-advice=off"][..],
        &["--qos=high", "--llm-advice=check"],
        &["--qos=high", "--llm-advice=explore"],
        &["--qos=high", "--nodelist=a1"],
        &["--qos=high", "-C", "[a100*1&ib*1]"],
    ] {
        let output = held(&site, more);
        assert_eq!((output.code, &*output.stdout), (Some(67), ""), "{output}");
        let lines: Vec<&str> = output.stderr.lines().collect();
        assert!((2..=4).contains(&lines.len()), "{output}");
        assert!(
            lines
                .iter()
                .all(|l| l.starts_with("sbatch: error: omnipilot: ")),
            "{output}"
        );
        // The default partition is named by the last observation.
        assert!(
            lines[0].contains("partition serve with QOS high enforces advice"),
            "{output}"
        );
        assert!(lines.last().unwrap().contains("hint: "), "{output}");
    }
    let queue = site.cluster.run(ALICE, "squeue", &["-h"]).unwrap();
    assert_eq!(queue.stdout, "", "nothing was submitted");

    let refused = site
        .cluster
        .sbatch(ALICE, &["--llm-model=no-such/model", "--qos=high"], "true")
        .unwrap();
    assert_eq!(refused.code, Some(64), "{refused}");
    assert!(
        !refused.stderr.contains("submits it as you wrote it"),
        "{refused}"
    );
    let tried = site.sbatch(&[
        MODEL,
        "--qos=high",
        "--llm-advice=check",
        "--test-only",
        "--wrap=true",
    ]);
    assert_eq!(tried.code, Some(0), "nothing is submitted: {tried}");
}

/// What would be a refusal is told, and the job goes as it was written.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn where_advice_only_advises_nothing_is_refused() {
    let site = Site::start();
    site.configure("[[policy]]\nmode = \"advise\"");
    let job = ["--llm-model=no-such/model", "--gres=gpu:a100:2", "--hold"];
    let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
    let asked = crate::site::finish(
        command
            .args(job)
            .args(["--wrap=true"])
            .env("OMNIPILOT_VERBOSE", "1"),
    );
    assert_eq!(asked.code, Some(0), "{asked}");
    assert!(
        asked
            .stderr
            .contains("submitted as written, as the site only advises"),
        "{asked}"
    );
    assert!(asked.stderr.lines().count() <= 4, "{asked}");
    let record = site.held(&job, "true");
    assert_eq!(gpus(&record), "gpu:a100:2");
}

/// Whoever wants no advice is not to hear of what is broken.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn advice_that_is_off_says_nothing_of_faults() {
    let site = Site::without_snapshot(&e2e::Setup::default());
    for configuration in ["", POLICY, "on_fault = \"refuse\"", "nonsense"] {
        site.configure(configuration);
        assert_eq!(
            asks_for(&site, &["--llm-advice=off"]),
            "gpu:a100:8",
            "{configuration}"
        );
    }
}
