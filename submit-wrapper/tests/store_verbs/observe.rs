//! `omnipilot observe`.

use crate::site::Site;

fn real_cluster(site: &Site) {
    let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/src/slurm/captures/22.05");
    site.command_that(
        "scontrol",
        &format!("#!/bin/sh\ncat {captures}/nodes.txt\n"),
    );
    site.command_that(
        "squeue",
        &format!("#!/bin/sh\ncat {captures}/pending.txt\n"),
    );
}

#[test]
fn what_slurm_says_is_printed_and_kept() {
    let site = Site::new();
    real_cluster(&site);
    let out = site.run(&["observe"]);
    assert!(out.status.success(), "{out:?}");
    let lines = String::from_utf8(out.stdout).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[0].starts_with("a100: 1 node") && lines[0].contains("2 of 8 GPUs free"), "{lines:?}");
    assert!(lines[1].starts_with("h100: ") && lines[1].contains("32 asked for by pending jobs"), "{lines:?}");
    assert!(lines[2].starts_with("h200: ") && lines[2].contains("8 GPUs on 1 node"), "{lines:?}");
    let kept = site.store().cluster().unwrap().unwrap();
    assert_eq!(
        kept.pools.iter().map(|p| p.free).collect::<Vec<_>>(),
        [2, 7, 0]
    );
    assert!(kept.observed_at.is_some());
}

#[test]
fn without_slurm_or_with_one_that_fails_it_says_so_and_keeps_nothing() {
    let site = Site::new();
    let absent = site
        .command(&["observe"])
        .env("PATH", site.path("bin"))
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), Some(1));
    let words = String::from_utf8(absent.stderr).unwrap();
    assert!(
        words.contains("`scontrol` is not on this machine's PATH") && words.contains("hint: "),
        "{words}"
    );
    site.command_that(
        "scontrol",
        "#!/bin/sh\necho 'slurm_load_node error: Unable to contact' >&2; exit 1\n",
    );
    let failed = site.run(&["observe"]);
    let words = String::from_utf8(failed.stderr).unwrap();
    assert!(
        words.contains("Unable to contact") && words.contains("`scontrol ping`"),
        "{words}"
    );
    assert_eq!(site.store().cluster().unwrap(), None);
}

#[test]
fn a_gpu_type_without_a_meaning_is_told() {
    let site = Site::new();
    site.command_that(
        "scontrol",
        "#!/bin/sh\necho 'NodeName=n1 Gres=gpu:rtx6000:4 State=IDLE Partitions=p'\necho 'NodeName=n2 Gres=gpu:h100:4 State=IDLE Partitions=p'\n",
    );
    site.command_that("squeue", "#!/bin/sh\n");
    let out = site.run(&["observe"]);
    assert!(out.status.success(), "{out:?}");
    let words = String::from_utf8(out.stderr).unwrap();
    assert!(words.contains("GPU type `rtx6000` has no meaning here") && !words.contains("`h100`"), "{words}");
}
