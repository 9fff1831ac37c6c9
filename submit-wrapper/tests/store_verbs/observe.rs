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
    assert_eq!(
        String::from_utf8(out.stdout).unwrap(),
        "a100: 1 node, 8 GPUs a node, 2 of 8 free, pending jobs ask for 8, partition serve\n\
         h100: 1 node, 8 GPUs a node, 7 of 8 free, pending jobs ask for 32, partition serve\n\
         h200: no node can run jobs, pending jobs ask for 8; 8 GPUs on 1 node down or drained\n"
    );
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
