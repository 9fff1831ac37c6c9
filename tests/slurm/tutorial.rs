//! `docs/tutorial.md`, typed line by line.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{OPERATOR, Setup};

use crate::site::Site;

/// A command of the page, and the lines that are to come back.
struct Typed {
    command: String,
    expected: Vec<String>,
}

/// The commands of the page in order, and the script that it has the reader save.
fn read() -> (Vec<Typed>, String) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md");
    let (mut typed, mut script) = (Vec::<Typed>::new(), String::new());
    let mut block = None;
    for line in fs::read_to_string(page).unwrap().lines() {
        match (block, line.strip_prefix("```")) {
            (None, Some(kind)) => block = Some(kind == "console"),
            (Some(_), Some(_)) => block = None,
            (Some(true), None) => match (line.strip_prefix("$ "), typed.last_mut()) {
                (Some(command), _) => typed.push(Typed {
                    command: command.into(),
                    expected: Vec::new(),
                }),
                (None, Some(last)) => last.expected.push(line.into()),
                (None, None) => panic!("nothing was typed before `{line}`"),
            },
            (Some(false), None) => script += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    (typed, script)
}

/// True where a line is the pattern, in which `...` stands for anything.
fn is_like(line: &str, pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split("...").collect();
    let (first, rest) = parts.split_first().unwrap();
    let Some(mut left) = line.strip_prefix(first) else {
        return false;
    };
    let Some((last, middle)) = rest.split_last() else {
        return left.is_empty();
    };
    for part in middle {
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

/// True where the lines are the patterns in order; a line of `...` alone stands for any number of lines.
fn are_like(lines: &[&str], patterns: &[String]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == "..." => {
            (0..=lines.len()).any(|skipped| are_like(&lines[skipped..], rest))
        }
        Some((one, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| is_like(line.trim_end(), one) && are_like(others, rest)),
    }
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn every_line_of_the_tutorial_does_what_it_says() {
    let (typed, script) = read();
    assert!(typed.len() >= 12 && script.contains("omnipilot run --"));
    let site = Site::trained(&Setup::default().accounting());
    site.load_plugin();
    // The stand-in serves for seconds only, so it is measured at shorter intervals than an engine.
    let quick = script.replace("run --", "run --interval 0.2 --warmup 0.4 --");
    site.cluster.file("tutorial/serve.sh", &quick).unwrap();
    let folder = site.path("tutorial");
    for Typed { command, expected } in &typed {
        let until = Instant::now() + Duration::from_secs(40);
        loop {
            let mut shell = site.cluster.command(OPERATOR, "bash").unwrap();
            shell
                .env("OMNIPILOT_CONFIG", site.config())
                .current_dir(&folder)
                .args(["-c", command]);
            let output = shell.output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8(text).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let learnt = command != "omnipilot ingest" || !text.contains(" 0 runs");
            if are_like(&lines, expected) && learnt {
                println!("$ {command}\n{text}");
                break;
            }
            // Accounting lags behind the controller.
            let may_lag = command == "omnipilot ingest" || command.starts_with("sacct");
            assert!(
                may_lag && Instant::now() < until,
                "$ {command}\n{text}\nis not\n{}",
                expected.join("\n")
            );
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

#[test]
fn dots_stand_for_what_differs() {
    for (line, pattern, alike) in [
        ("h200 x 1, fp8", "h... x ..., fp8", true),
        ("a100 x 1, fp8", "h... x ..., fp8", false),
        ("same", "same", true),
        ("same and more", "same", false),
        ("published a b", "published ...", true),
        ("", "...", true),
    ] {
        assert_eq!(is_like(line, pattern), alike, "{line} {pattern}");
    }
    let patterns = ["a".to_owned(), "...".into(), "z".into()];
    assert!(are_like(&["a", "b", "c", "z"], &patterns));
    assert!(!are_like(&["a", "b"], &patterns));
}
