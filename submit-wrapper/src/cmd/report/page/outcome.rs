//! What came of it: GPU-hours saved, failures by class, demand by GPU type.

use model_store::advisor::RunOutcome;
use model_store::advisor::words::count_of;

use super::super::data::{Data, Saved, outcomes, sums};
use super::super::svg::{Plot, Scale, bars, escaped, short};
use super::{Section, figure, later, section};

pub(super) fn saved(data: &Data) -> Section {
    let title = "GPU-hours saved";
    let all = match &data.saved {
        Err(reason) => return later(title, &format!("Not known: {}.", escaped(reason))),
        Ok(all) if all.is_empty() => {
            return later(
                title,
                "No advised job whose user had asked for GPUs of a type has left an outcome.",
            );
        }
        Ok(all) => all,
    };
    let [low, middle, high] = sums(all);
    let took: f64 = all.iter().map(|s| s.took).sum();
    let words = format!(
        "{} took {} GPU-hours. For the same output, what their users had asked for would have taken {} more [{} to {}]. \
         The interval adds up the ends of each job's own, as if all were off the same way.",
        count_of(all.len(), "job"),
        short(took),
        short(middle),
        short(low),
        short(high)
    );
    let mut jobs: Vec<&Saved> = all.iter().collect();
    jobs.sort_by(|a, b| b.hours[1].abs().total_cmp(&a.hours[1].abs()));
    let y = Scale::over(jobs.iter().take(60).flat_map(|s| s.hours), false);
    let n = jobs.len().min(60) as f64;
    let axis = match jobs.len() {
        0..=60 => "jobs, largest difference first".to_owned(),
        all => format!("the 60 jobs of {all} with the largest difference"),
    };
    let mut plot = Plot::new(
        (Scale::between(0.5, n + 0.5), &axis),
        (y, "GPU-hours saved"),
        [false; 2],
    );
    plot.line(&[(0.5, 0.0), (n + 0.5, 0.0)], "dash");
    for (i, s) in jobs.iter().take(60).enumerate() {
        let class = if s.hours[0] > 0.0 { "hit" } else { "second" };
        let words = format!(
            "job {}: {} [{} to {}]; {}",
            s.job,
            short(s.hours[1]),
            short(s.hours[0]),
            short(s.hours[2]),
            s.words
        );
        plot.point(i as f64 + 1.0, s.hours, class, &words);
    }
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|s| {
            vec![
                format!("job {}", s.job),
                s.words.clone(),
                short(s.took),
                short(s.hours[1]),
                short(s.hours[0]),
                short(s.hours[2]),
            ]
        })
        .collect();
    let svg = plot.draw(
        "saved",
        "GPU-hours saved by job",
        "in orange those whose interval reaches below nothing",
    );
    section(
        title,
        &words,
        &figure(
            &svg,
            &["job", "what", "took", "saved", "low", "high"],
            &rows,
        ),
    )
}

/// What advice costs: jobs that it kept from starting, or whose users gave up on it.
pub(super) fn unstarted(data: &Data) -> Section {
    let told = data.unstarted.iter().filter(|(_, count)| *count > 0);
    let told: Vec<String> = told
        .map(|(kind, count)| format!("{} {}", count_of(*count, "job"), kind.words()))
        .collect();
    let title = "Advised jobs that did not start";
    if told.is_empty() {
        return later(
            title,
            "None is known to have waited for a limit or to have been cancelled.",
        );
    }
    let words = format!(
        "Of the advised jobs, {}. A job may count more than once.",
        told.join("; ")
    );
    section(title, &escaped(&words), "")
}

pub(super) fn failures(data: &Data) -> Section {
    let [advised, written] = outcomes(&data.runs);
    let all: u64 = advised.iter().chain(&written).sum();
    if all == 0 {
        return later("Launches by outcome", "No job here has left an outcome.");
    }
    let mut rows = Vec::new();
    for (i, outcome) in RunOutcome::ALL.iter().enumerate() {
        for (name, counts) in [("advised", &advised), ("as written", &written)] {
            let n = counts.get(i).copied().unwrap_or(0);
            if n > 0 {
                rows.push((
                    format!("{}, {name}", outcome.name()),
                    n as f64,
                    n.to_string(),
                ));
            }
        }
    }
    let about = format!("{} by how their engine ended", count_of(all, "job"));
    let svg = bars(&rows, "failures", "Launches by outcome", &about);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| vec![r.0.clone(), r.2.clone()])
        .collect();
    section(
        "Launches by outcome",
        &format!("{about}."),
        &figure(&svg, &["outcome", "jobs"], &cells),
    )
}

pub(super) fn demand(data: &Data) -> Section {
    if data.demand.is_empty() {
        return later("Demand by GPU type", "No serving job has been seen.");
    }
    let mut rows = Vec::new();
    for (gres, d) in &data.demand {
        let hours = d.untagged_gpu_s as f64 / 3600.0;
        rows.push((
            format!("{gres}, tagged"),
            d.tagged as f64,
            d.tagged.to_string(),
        ));
        rows.push((
            format!("{gres}, untagged"),
            d.untagged as f64,
            format!("{}, {} GPU-hours", d.untagged, short(hours)),
        ));
    }
    let about = "serving jobs by Slurm GPU type, with a tag and without one";
    let svg = bars(&rows, "demand", "Demand by GPU type", about);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| vec![r.0.clone(), r.2.clone()])
        .collect();
    section(
        "Demand by GPU type",
        &format!("Number of {about}, as far as outcomes and accounting tell."),
        &figure(&svg, &["type", "jobs"], &cells),
    )
}
