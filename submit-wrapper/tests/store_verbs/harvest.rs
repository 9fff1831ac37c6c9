//! `omnipilot ingest`: honest files.

use std::time::Duration;

use model_store::advisor::{Precision, RunOutcome, StartLog, Workload};
use model_store::outcome::Window;
use model_store::store::AccountedJob;

use crate::site::{BEGAN, COMMENT, Site, TRES, outcome, row, with};

#[test]
fn an_outcome_that_accounting_agrees_with_becomes_a_run_once() {
    let site = Site::new();
    site.accounting(&[row(&site, 7, "COMPLETED", TRES, COMMENT)]);
    site.put("a.json", &outcome(&site, 7));
    let report = site.ingest();
    assert_eq!(
        (report["files"].as_u64(), report["runs"].as_u64()),
        (Some(1), Some(1)),
        "{report}"
    );
    assert_eq!(site.left(), 0);
    let runs = site.runs_here();
    let (case, measured) = (&runs[0].case, &runs[0].measured);
    assert_eq!(
        (case.model.as_str(), case.gpu.as_str()),
        ("meta-llama/Llama-3.1-8B-Instruct", "H100-SXM")
    );
    assert_eq!(
        (case.tp, case.precision, case.workload),
        (Some(2), Some(Precision::Fp8), Workload::ClosedLoop)
    );
    // What was measured in the window stands before what was asked.
    assert_eq!(
        (case.isl, case.osl, case.concurrency),
        (Some(990.0), Some(200.0), Some(15.5))
    );
    assert_eq!(
        (
            measured.output_tok_s,
            measured.cold_start_s,
            measured.kv_usage
        ),
        (Some(2000.0), Some(20.0), Some(0.3))
    );
    assert_eq!(
        (runs[0].source.as_str(), runs[0].source_ref.as_str()),
        ("cluster:omnipilot", "job 7 window 0")
    );

    // The same file under another name.
    site.put("b.json", &outcome(&site, 7));
    let report = site.ingest();
    assert_eq!(
        (report["runs"].as_u64(), report["known"].as_u64()),
        (Some(0), Some(1)),
        "{report}"
    );
    assert_eq!((site.left(), site.runs_here().len()), (0, 1));
}

#[test]
fn each_window_under_load_is_a_run_and_the_start_counts_once() {
    let site = Site::new();
    site.accounting(&[row(&site, 7, "CANCELLED by 0", TRES, COMMENT)]);
    let mut told = outcome(&site, 7);
    let first = Window {
        seconds: 20.0,
        ..told.windows[0].clone()
    };
    let idle = Window {
        begins_at: first.begins_at + 20.0,
        output_tok_s: 0.0,
        req_s: 0.0,
        ..first.clone()
    };
    let last = Window {
        begins_at: first.begins_at + 40.0,
        output_tok_s: 900.0,
        ..first.clone()
    };
    told.windows = vec![first, idle, last];
    told.outcome = RunOutcome::Crash;
    site.put("a.json", &told);
    assert_eq!(site.ingest()["runs"], 2);
    let runs = site.runs_here();
    assert!(runs.iter().all(|r| r.measured.outcome == RunOutcome::Ok));
    assert_eq!(
        runs.iter()
            .filter(|r| r.measured.cold_start_s.is_some())
            .count(),
        1
    );
}

#[test]
fn a_window_before_the_engine_settled_teaches_nothing_and_cached_prompts_what_was_computed() {
    let site = Site::new();
    site.accounting(&[row(&site, 7, "COMPLETED", TRES, COMMENT)]);
    let mut told = outcome(&site, 7);
    let cached = Window {
        seconds: 20.0,
        prefix_hits: Some(0.6),
        ..told.windows[0].clone()
    };
    let unsettled = Window {
        begins_at: cached.begins_at + 20.0,
        unsettled: true,
        ..cached.clone()
    };
    let drafted = Window {
        begins_at: cached.begins_at + 40.0,
        seconds: 15.0,
        prefix_hits: None,
        accepted: Some(0.7),
        ..cached.clone()
    };
    told.windows = vec![cached, unsettled, drafted];
    told.start = Some(StartLog {
        kv_tokens: Some(476_016.0),
        load_s: Some(12.5),
        storage: "lustre:/scratch".into(),
        ..StartLog::default()
    });
    site.put("a.json", &told);
    assert_eq!(site.ingest()["runs"], 2);
    let runs = site.runs_here();
    let of = |speculative| {
        let found = runs
            .iter()
            .find(|r| r.case.variant.speculative == speculative);
        found.unwrap()
    };
    let (plain, fast) = (of(false), of(true));
    assert_eq!(plain.case.isl, Some(990.0 * 0.4));
    assert!(plain.notes.contains("prefix_hits=0.600"), "{}", plain.notes);
    assert_eq!(fast.case.isl, Some(990.0));
    assert!(fast.notes.contains("accepted=0.700"), "{}", fast.notes);
    let start = StartLog::in_notes(&plain.notes);
    assert_eq!(
        (start.kv_tokens, start.load_s, start.storage.as_str()),
        (Some(476_016.0), Some(12.5), "lustre:/scratch")
    );
}

#[test]
fn a_launch_that_failed_is_a_run_without_throughput() {
    let site = Site::new();
    site.accounting(&[
        row(&site, 7, "FAILED", TRES, COMMENT),
        row(&site, 8, "NODE_FAIL", TRES, COMMENT),
    ]);
    let mut told = outcome(&site, 7);
    (told.windows, told.cold_start_s, told.outcome) = (Vec::new(), None, RunOutcome::OutOfMemory);
    site.put("a.json", &told);
    // The node failed: that says nothing about the configuration.
    (told.job_id, told.outcome) = (8, RunOutcome::Crash);
    site.put("b.json", &told);
    assert_eq!(site.ingest()["runs"], 1);
    assert_eq!(site.left(), 0);
    let runs = site.runs_here();
    assert_eq!(
        (runs[0].measured.outcome, runs[0].measured.output_tok_s),
        (RunOutcome::OutOfMemory, None)
    );
    assert_eq!(runs[0].source_ref, "job 7 launch");
}

#[test]
fn a_job_that_is_unknown_or_runs_is_waited_for() {
    let site = Site::new();
    site.put("a.json", &outcome(&site, 7));
    assert_eq!(
        site.ingest()["waiting"][0]["reason"],
        "its job is not in accounting yet"
    );
    site.accounting(&[row(&site, 7, "RUNNING", TRES, COMMENT)]);
    assert_eq!(
        site.ingest()["waiting"][0]["reason"],
        "its job is still running"
    );
    site.accounting(&[row(&site, 7, "COMPLETED", "gres/gpu=2", COMMENT)]);
    let reason = site.ingest()["waiting"][0]["reason"].to_string();
    assert!(reason.contains("AccountingStorageTRES"), "{reason}");
    site.accounting(&[row(&site, 7, "COMPLETED", "gres/gpu:rtx9=2", COMMENT)]);
    let mut told = outcome(&site, 7);
    told.asked.gpu = String::new();
    site.put("a.json", &told);
    let reason = site.ingest()["waiting"][0]["reason"].to_string();
    assert!(reason.contains("[gpu.rtx9]"), "{reason}");
    assert_eq!(site.left(), 1);
    site.accounting(&[row(&site, 7, "COMPLETED", TRES, COMMENT)]);
    assert_eq!(site.ingest()["runs"], 1);
}

#[test]
fn a_requeued_job_is_two_runs_of_it() {
    let site = Site::new();
    let first = row(&site, 7, "REQUEUED", TRES, COMMENT);
    let later = |cell: &str| (cell.parse::<i64>().unwrap() + 1000).to_string();
    let mut cells: Vec<String> = row(&site, 7, "COMPLETED", TRES, COMMENT)
        .split("@X@")
        .map(str::to_owned)
        .collect();
    for k in [7, 8, 9, 10] {
        cells[k] = later(&cells[k]);
    }
    site.accounting(&[first, cells.join("@X@")]);
    site.put("a.json", &outcome(&site, 7));
    let mut second = outcome(&site, 7);
    second.started_at += 1000.0;
    second.windows[0].begins_at += 1000.0;
    site.put("b.json", &second);
    assert_eq!(site.ingest()["runs"], 2);
}

#[test]
fn it_may_be_killed_anywhere_and_loses_and_doubles_nothing() {
    const FILES: u64 = 600;
    let site = Site::new();
    let rows: Vec<String> = (1..=FILES)
        .map(|job| row(&site, job, "COMPLETED", TRES, COMMENT))
        .collect();
    site.accounting(&rows);
    for job in 1..=FILES {
        let mut told = outcome(&site, job);
        told.windows[0].output_tok_s = 1000.0 + job as f64;
        site.put(&format!("{job:04}.json"), &told);
    }
    // Killed after 4, 8, 12 ... ms, so that sooner or later every step is hit.
    for kill in 1..=60 {
        let mut child = site
            .command(&["ingest", "--json"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(kill * 4));
        child.kill().unwrap();
        child.wait().unwrap();
        if site.left() == 0 {
            break;
        }
    }
    site.ingest();
    assert_eq!((site.left(), site.runs_here().len() as u64), (0, FILES));
    assert!(site.store().quarantined().unwrap().is_empty());
    assert!(
        site.runs_here()
            .iter()
            .all(|r| r.source_ref.starts_with("job "))
    );
}

#[test]
fn a_tagged_job_without_a_file_tells_of_its_launch_until_a_file_comes() {
    let site = Site::new();
    let plain = row(&site, 7, "TIMEOUT", TRES, COMMENT);
    let line = "sbatch --llm-model=meta-llama/Llama-3.1-8B-Instruct --llm-precision=fp8 serve.sh";
    let told = with(&plain, &[(6, "7200"), (15, line)]);
    site.ended(std::slice::from_ref(&told));
    let report = site.ingest();
    assert_eq!(
        (&report["launches"], &report["jobs"], &report["waits"]),
        (&1.into(), &1.into(), &1.into()),
        "{report}"
    );
    assert_eq!(site.ingest()["launches"], 0);
    let runs = site.runs_here();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].source_ref, "job 7 accounting");
    assert_eq!(runs[0].measured.outcome, RunOutcome::Ok);
    // By this its advice is not made again; another run of the job, after a requeue, has none.
    let job = |start| AccountedJob {
        cluster: "omnipilot".into(),
        job_id: 7,
        submit: BEGAN,
        start,
        ..AccountedJob::default()
    };
    let store = site.store();
    assert!(store.has_run_of(&job(BEGAN)).unwrap());
    assert!(!store.has_run_of(&job(BEGAN + 200)).unwrap());
    drop(store);
    // The file comes late and says more.
    site.accounting(&[told]);
    site.put("a.json", &outcome(&site, 7));
    assert_eq!(site.ingest()["runs"], 1);
    let runs = site.runs_here();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].source_ref, "job 7 window 0");
    assert_eq!(site.ingest()["launches"], 0);
}

/// What stands twice on a command line counts as the plugin counts it, in runs and in wishes; what is the script's does not count.
#[test]
fn accounting_is_read_as_the_plugin_reads_the_command_line() {
    let site = Site::new();
    let plain = row(&site, 7, "TIMEOUT", TRES, COMMENT);
    let line = "sbatch --llm-tp=2 --llm-mod=meta-llama/Llama-3.1-8B-Instruct --llm-precision fp8 --llm-isl=10 --llm-tp=4";
    let job = |id: &str, rest: &str| {
        with(
            &plain,
            &[(0, id), (6, "7200"), (15, &format!("{line} {rest}"))],
        )
    };
    site.ended(&[
        job("7", "serve.sh --llm-tp=8"),
        // Whether `job` is a part of the comment or the script cannot be told: nothing is learnt.
        job("8", "--comment my job --llm-tp=8 serve.sh"),
        job("9", "--llm-advice=explore serve.sh"),
    ]);
    site.ingest();
    let runs = site.runs_here();
    let seen: Vec<_> = runs
        .iter()
        .map(|r| (r.source_ref.as_str(), r.case.tp, r.case.isl))
        .collect();
    let told = |job| (job, Some(4), Some(10.0));
    assert_eq!(seen, [told("job 7 accounting"), told("job 9 accounting")]);
    let wishes = site.store().wishes(0).unwrap();
    assert_eq!(wishes.len(), 1);
    assert!(wishes[0].request.contains(r#""llm-tp":"4""#), "{wishes:?}");
}

#[test]
fn waits_count_from_when_a_job_could_begin_and_untagged_serving_is_demand() {
    let site = Site::new();
    let plain = row(&site, 7, "COMPLETED", TRES, "");
    let early = (BEGAN - 500).to_string();
    let serving = with(
        &plain,
        &[
            (0, "8"),
            (8, &early),
            (14, "vllm-server"),
            (15, "sbatch --wrap vllm serve a/b"),
        ],
    );
    let held = with(&plain, &[(0, "9"), (8, "Unknown")]);
    site.ended(&[plain, serving, held]);
    let report = site.ingest();
    assert_eq!(
        (&report["waits"], &report["demand"], &report["jobs"]),
        (&2.into(), &1.into(), &0.into()),
        "{report}"
    );
    // The same hour again adds nothing.
    site.ingest();
    let waits = site.store().waits(0).unwrap();
    assert_eq!(waits.iter().map(|w| w.wait_s).collect::<Vec<_>>(), [500, 0]);
    let demand = site.store().demand(0).unwrap();
    assert_eq!(demand.len(), 1);
    assert_eq!(
        (demand[0].engine.as_str(), demand[0].model.as_str()),
        ("vllm", "a/b")
    );
    assert_eq!(
        (&demand[0].job.gpus, demand[0].job.elapsed_s),
        (&vec![("h100".to_owned(), 2)], 100)
    );
    assert!(site.runs_here().is_empty());
}

/// Most jobs leave the precision to the advice: then it is made again from the submit line, whatever else the script holds.
#[test]
fn a_tagged_job_without_a_file_is_known_by_the_advice_that_it_was_given() {
    let site = Site::small();
    site.observes(&["h100", "h200"]);
    site.json(&["train"]);
    let script = site.path("serve.sh");
    let text = "#!/bin/bash\n#SBATCH --gres=gpu:h100:1\n#SBATCH --time=3:00:00\nmodule load cuda\nomnipilot run -- vllm serve \"$SLURM_LLM_MODEL\" --port 8000 --swap-space 4\n";
    std::fs::write(&script, text).unwrap();
    let words = [
        "--llm-model=meta-llama/Llama-3.1-70B-Instruct",
        "--llm-isl=1000",
        "--llm-osl=1000",
        "--llm-concurrency=64",
        script.to_str().unwrap(),
    ];
    let dry = site.run(&[&["submit", "--dry-run"], &words[..]].concat());
    let line = String::from_utf8(dry.stdout.clone()).unwrap();
    let after = |mark: &str| {
        let at = line.find(mark).unwrap_or_else(|| panic!("{dry:?}")) + mark.len();
        let end = line[at..]
            .find(|c: char| c.is_whitespace() || c == '\'')
            .unwrap_or(line.len() - at);
        line[at..at + end].to_owned()
    };
    let (id, gres) = (after("omnipilot:"), after("gpu:"));
    let (gpu, count) = gres.split_once(':').unwrap();
    let tres = format!("cpu=1,gres/gpu:{gpu}={count},gres/gpu={count}");
    let submitted = format!("sbatch {}", words.join(" "));
    let comment = format!("mine omnipilot:{id}");
    let job = |number: u64, tres: &str, comment: &str, line: &str| {
        with(&row(&site, number, "FAILED", tres, comment), &[(15, line)])
    };
    let other = format!("cpu=1,gres/gpu:{gpu}=7,gres/gpu=7");
    site.ended(&[
        job(1, &tres, &comment, &submitted),
        // Other GPUs than were advised; an advice that nobody gave; another request than the advice was for.
        job(2, &other, &comment, &submitted),
        job(3, &tres, "omnipilot:00000000", &submitted),
        job(
            4,
            &tres,
            &comment,
            &submitted.replace("--llm-osl=1000", "--llm-osl=999"),
        ),
    ]);
    let report = site.ingest();
    assert_eq!(
        (&report["launches"], &report["jobs"]),
        (&1.into(), &4.into()),
        "{report}"
    );
    let runs = site.runs_here();
    assert_eq!(runs.len(), 1);
    let (case, advised) = (
        &runs[0].case,
        site.json(&[
            "advise",
            "--model",
            "meta-llama/Llama-3.1-70B-Instruct",
            "--isl",
            "1000",
            "--osl",
            "1000",
            "--concurrency",
            "64",
        ]),
    );
    assert_eq!(
        (case.model.as_str(), runs[0].measured.outcome),
        ("meta-llama/Llama-3.1-70B-Instruct", RunOutcome::Crash)
    );
    let best = &advised["candidates"][0];
    assert_eq!(
        case.precision.map(Precision::name),
        best["precision"].as_str(),
        "{best}"
    );
    assert_eq!(
        (case.tp.map(u64::from), case.num_gpus()),
        (best["tp"].as_u64(), count.parse().ok())
    );
    assert_eq!(site.ingest()["launches"], 0);
}

/// After a month without a timer accounting is read day by day, and what was read is not asked for again.
#[test]
fn what_was_missed_is_read_by_the_day_and_from_where_it_broke_off() {
    const DAY: i64 = 86_400;
    let site = Site::new();
    let now = i64::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap();
    site.store()
        .save_accounting(&[], &[], &[], ("sacct", now - 30 * DAY))
        .unwrap();
    // Tells what it was asked for; from the fifth question on nothing is answered, until somebody mends it.
    site.command_that(
        "sacct",
        "#!/bin/sh\nhere=${0%/*}\necho \"$*\" >> \"$here/asked\"\n[ -e \"$here/mended\" ] || [ \"$(wc -l < \"$here/asked\")\" -lt 5 ] || { echo 'sacct: error: slurmdbd: no route' >&2; exit 1; }\n",
    );
    let asked = || -> Vec<(i64, i64)> {
        let text = std::fs::read_to_string(site.path("bin/asked")).unwrap();
        let ago = |words: &[&str], option: &str| {
            let at = words.iter().position(|w| *w == option).unwrap();
            let word = words[at + 1]
                .trim_start_matches("now")
                .trim_start_matches('-');
            word.trim_end_matches("seconds").parse().unwrap_or(0)
        };
        text.lines()
            .map(|l| l.split(' ').collect::<Vec<_>>())
            .map(|w| (ago(&w, "-S"), ago(&w, "-E")))
            .collect()
    };
    assert!(!site.run(&["ingest"]).status.success());
    // The fifth, and whether anything is answered at all.
    assert_eq!((asked().len(), asked()[5]), (6, (0, 0)));
    let read_to = site.store().watermark("sacct").unwrap().unwrap();
    assert!(
        (read_to - (now - 26 * DAY + 3 * 3600)).abs() < 60,
        "{}",
        now - read_to
    );
    assert!(site.store().accounting_gaps().unwrap().is_empty());
    std::fs::write(site.path("bin/mended"), "").unwrap();
    site.ingest();
    let asked = asked();
    assert!(
        asked.iter().all(|(from, to)| from - to <= DAY + 3660),
        "{asked:?}"
    );
    // Without a gap, from an hour before it broke off to now.
    let later = &asked[6..];
    assert!(
        (later[0].0 - (26 * DAY - 2 * 3600)).abs() < 180,
        "{later:?}"
    );
    assert!(later.windows(2).all(|w| w[0].1 < w[1].0), "{later:?}");
    assert_eq!(later.last().unwrap().1, 0);
    let read_to = site.store().watermark("sacct").unwrap().unwrap();
    assert!((read_to - now).abs() < 120);
}

/// What users made of one hour cannot be read: half of the time is asked for, and what fails even so is passed over, and told.
#[test]
fn accounting_that_fails_for_a_while_is_passed_over_and_the_rest_is_read() {
    let site = Site::new();
    // It ends by a signal where the question reaches to three hours ago, and answers anything else.
    site.command_that(
        "sacct",
        "#!/bin/sh\nfrom=0 to=0\nwhile [ $# -gt 0 ]; do case $1 in -S) from=$2; shift ;; -E) to=$2; shift ;; esac; shift; done\n\
         ago() { case $1 in now) echo 0 ;; *) echo \"$1\" | tr -dc 0-9 ;; esac; }\n\
         [ \"$(ago $from)\" -gt 10800 ] && [ \"$(ago $to)\" -lt 10800 ] && kill -PIPE $$\nexit 0\n",
    );
    let report = site.ingest();
    let gaps = report["passed_over"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{report}");
    let seconds = gaps[0]["until"].as_i64().unwrap() - gaps[0]["since"].as_i64().unwrap();
    assert!((60..240).contains(&seconds), "{report}");
    let read_to = site.store().watermark("sacct").unwrap().unwrap();
    assert!(
        read_to > gaps[0]["until"].as_i64().unwrap() + 3600,
        "{report}"
    );
    assert_eq!(site.store().accounting_gaps().unwrap().len(), 1);
}

/// An array's id is answered with all of its tasks: a hundred thousand rows that nobody asked for, each with a long line.
#[test]
fn an_answer_full_of_what_was_not_asked_for_costs_nobody_his_outcome() {
    let site = Site::new();
    site.accounting(&[row(&site, 7, "COMPLETED", TRES, COMMENT)]);
    let real = std::fs::read_to_string(site.path("bin/sacct")).unwrap();
    site.command_that("real-sacct", &real);
    site.command_that(
        "sacct",
        "#!/bin/sh\nhere=${0%/*}\nfor word; do case $word in --delimiter=*) d=${word#*=} ;; esac; done\n\
         case \"$*\" in *' -j '*) awk -v d=\"$d\" 'BEGIN { line = sprintf(\"%60000s\", \"x\"); for (n = 1000; n < 6000; n++) \
         print n d \"c\" d \"a\" d 1 d \"CANCELLED\" d \"0:0\" d 0 d 1 d 1 d 1 d 1 d \"None assigned\" d d \"p\" d \"j\" d line d d \"None\" }' ;; esac\n\
         exec \"$here/real-sacct\" \"$@\"\n",
    );
    site.put("a.json", &outcome(&site, 7));
    assert_eq!(site.ingest()["runs"], 1);
}

/// Outcomes of jobs 1 to this in the spool, and the jobs in accounting.
fn fill(site: &Site, files: u64) {
    let rows: Vec<String> = (1..=files)
        .map(|job| row(site, job, "COMPLETED", TRES, COMMENT))
        .collect();
    site.accounting(&rows);
    for job in 1..=files {
        let mut told = outcome(site, job);
        told.windows[0].output_tok_s = 1000.0 + job as f64;
        site.put(&format!("{job:05}.json"), &told);
    }
}

#[test]
fn a_backup_taken_under_way_is_whole_and_what_came_after_it_is_all_that_a_restore_loses() {
    const FILES: u64 = 3000;
    let site = Site::new();
    fill(&site, FILES);
    let mut ingest = site
        .command(&["ingest", "--json"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut held = Vec::new();
    for n in 0.. {
        let file = site.path(&format!("backup-{n}.db"));
        let out = site.run(&["store", "backup", file.to_str().unwrap()]);
        assert!(out.status.success(), "{out:?}");
        let copy = model_store::store::Store::open(&file).unwrap();
        let here = copy
            .runs()
            .unwrap()
            .iter()
            .filter(|r| r.source.starts_with("cluster:"))
            .count() as u64;
        held.push((file, here));
        if ingest.try_wait().unwrap().is_some() {
            break;
        }
    }
    assert!(ingest.wait().unwrap().success());
    // Each is of one moment, and later ones hold no less.
    assert!(held.windows(2).all(|w| w[0].1 <= w[1].1), "{held:?}");
    assert_eq!(site.runs_here().len() as u64, FILES);
    let (file, here) = &held[0];
    let out = site.run(&["store", "restore", file.to_str().unwrap()]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(site.runs_here().len() as u64, *here);
    // A file that was ingested after the backup and lies there again is taken again, once.
    fill(&site, FILES);
    let report = site.ingest();
    assert_eq!(
        (report["runs"].as_u64(), report["known"].as_u64()),
        (Some(FILES - here), Some(*here)),
        "{report}"
    );
}

#[test]
fn three_at_once_take_each_file_once() {
    const FILES: u64 = 400;
    let site = Site::new();
    fill(&site, FILES);
    let start = || {
        let mut command = site.command(&["ingest", "--json"]);
        command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let all = [start(), start(), start()].map(|child| child.wait_with_output().unwrap());
    let runs = all.iter().map(|out| {
        assert!(out.status.success(), "{out:?}");
        let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert!(
            report["quarantined"].as_array().unwrap().is_empty(),
            "{report}"
        );
        report["runs"].as_u64().unwrap()
    });
    assert_eq!(runs.sum::<u64>(), FILES);
    assert_eq!((site.left(), site.runs_here().len() as u64), (0, FILES));
}
