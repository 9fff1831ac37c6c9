//! `omnipilot export metrics`: the state of the site for Prometheus, in its text format, for
//! node_exporter's textfile collector.

use std::fmt::{Display, Write};
use std::path::PathBuf;

use model_store::advisor::Origin;
use model_store::config::Config;
use model_store::snapshot::Snapshot;
use model_store::store::{Store, Tally};

use super::{Written, write_to};
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::{drift, exit};

/// Arguments.
#[derive(clap::Args)]
pub(super) struct Args {
    /// File to write, as in /var/lib/node_exporter/omnipilot.prom [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

pub(super) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<Written> {
    let config = site.config()?;
    let progress = Progress::start("counting what the store holds");
    let mut page = Page::default();
    page.family("omnipilot_info", "gauge", "Version of the command.");
    page.sample(
        "omnipilot_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    snapshot(&mut page, &config);
    let mut store = Store::open(&config.store).map_err(exit::store)?;
    counts(&mut page, &store.tally().map_err(exit::store)?);
    runs(&mut page, &store)?;
    coverage(&mut page, &config, &mut store)?;
    drop(progress);
    write_to(args.output.as_deref(), |out| {
        out.write_all(page.text.as_bytes())
    })?;
    Ok(Written {
        form: "metrics",
        advice: None,
        runs: None,
    })
}

/// The published snapshot, as every submission finds it.
fn snapshot(page: &mut Page, config: &Config) {
    let read = Snapshot::read(&config.snapshot);
    let name = "omnipilot_snapshot_readable";
    page.family(
        name,
        "gauge",
        "1 where the published snapshot can be read: where it cannot, tagged jobs go as written.",
    );
    page.sample(name, &[], u8::from(read.is_ok()));
    let Ok(snapshot) = read else { return };
    // Times and not ages: an age would stand still where this page is no longer written.
    let name = "omnipilot_snapshot_timestamp_seconds";
    page.family(
        name,
        "gauge",
        "When the snapshot was published, Unix time in seconds.",
    );
    page.sample(name, &[], snapshot.created_at);
    if let Some(at) = snapshot.body.cluster.observed_at {
        let name = "omnipilot_cluster_timestamp_seconds";
        page.family(
            name,
            "gauge",
            "When Slurm was last asked for the cluster's GPUs, Unix time in seconds.",
        );
        page.sample(name, &[], at);
    }
    let name = "omnipilot_gpus";
    page.family(
        name,
        "gauge",
        "GPUs of the cluster by type, as last observed.",
    );
    for pool in &snapshot.body.cluster.pools {
        for (state, gpus) in [
            ("total", pool.total),
            ("free", pool.free),
            ("pending", pool.pending),
        ] {
            page.sample(name, &[("type", &pool.gres), ("state", state)], gpus);
        }
    }
}

fn counts(page: &mut Page, tally: &Tally) {
    let families = [
        (
            "omnipilot_advised_jobs",
            "Ended jobs under an advice, by Slurm's state.",
            "state",
            &tally.advised,
        ),
        (
            "omnipilot_wishes",
            "Requests without an advice that is followed (refused: none was given; explored: submitted as written), by why; the latest are kept.",
            "why",
            &tally.wishes,
        ),
        (
            "omnipilot_starts",
            "Starts of engines on this cluster, by outcome.",
            "outcome",
            &tally.starts,
        ),
    ];
    for (name, help, label, counts) in families {
        page.family(name, "gauge", help);
        for (value, n) in counts {
            page.sample(name, &[(label, value)], n);
        }
    }
    let plain = [
        (
            "omnipilot_untagged_jobs",
            "Jobs that served a model without a tag; the latest are kept.",
            tally.untagged,
        ),
        (
            "omnipilot_quarantined_files",
            "Files in the spool that were refused; the latest are kept.",
            tally.quarantined,
        ),
    ];
    for (name, help, n) in plain {
        page.family(name, "gauge", help);
        page.sample(name, &[], n);
    }
}

fn runs(page: &mut Page, store: &Store) -> anyhow::Result<()> {
    let name = "omnipilot_runs";
    page.family(name, "gauge", "Past runs in the store, by origin.");
    // Each is a series from the first day on, so that "none yet" is a 0.
    let none = Origin::ALL.into_iter().map(|origin| (origin.name(), 0));
    let mut by_origin: std::collections::BTreeMap<&str, u64> = none.collect();
    for count in store.counts().map_err(exit::store)? {
        *by_origin.entry(count.origin.name()).or_default() += count.runs;
    }
    for (origin, n) in by_origin {
        page.sample(name, &[("origin", origin)], n);
    }
    Ok(())
}

/// What recent runs say of the published intervals, by target and group.
fn coverage(page: &mut Page, config: &Config, store: &mut Store) -> anyhow::Result<()> {
    let drifts = drift::look(config, store)?;
    let families = [
        (
            "omnipilot_coverage_ratio",
            "Share of recent runs inside their published 80 % intervals, by target and group.",
        ),
        ("omnipilot_coverage_runs", "Recent runs behind that share."),
    ];
    for (at, (name, help)) in families.into_iter().enumerate() {
        page.family(name, "gauge", help);
        for d in &drifts {
            let labels = [("target", d.target), ("group", d.group.as_str())];
            let value = if at == 0 { d.coverage } else { d.runs as f64 };
            page.sample(name, &labels, value);
        }
    }
    Ok(())
}

/// A page in the text format, version 0.0.4.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string has no way to fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let escaped = |v: &str| {
            v.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
        };
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }
}
