//! What waits in the queue, from `squeue`.

use super::gres::{self, Gpus};

/// The columns that are asked for, with widths. Fixed widths rather than blanks between them: a
/// column may be empty.
const COLUMNS: [(&str, usize); 8] = [
    ("NumNodes", 8),
    ("NumTasks", 8),
    ("tres-per-job", 128),
    ("tres-per-node", 128),
    ("tres-per-task", 128),
    ("tres-alloc", 512),
    ("Feature", 256),
    ("Reason", 64),
];

/// Reasons, in Slurm's words, of a job that waits for nodes and what is on them. Every other one (a limit of its user, account or QOS, a hold, a
/// dependency, a reservation, a license) would keep it waiting beside free GPUs. Accounting writes `None` for these, and the queue for a job that
/// was not looked at yet.
const FOR_RESOURCES: [&str; 4] = ["", "None", "Resources", "Priority"];

/// Whether a reason, as queue and accounting tell it, leaves GPUs as what a job waits for.
pub(crate) fn is_for_resources(reason: &str) -> bool {
    FOR_RESOURCES.contains(&reason.trim())
}

/// The value of `--Format`.
pub(crate) fn format() -> String {
    COLUMNS
        .map(|(name, width)| format!("{name}:.{width}"))
        .join(",")
}

/// Adds the GPUs that the pending job of this line waits for, by type. A request without a type counts for the type that
/// its features name, among `types`; else under the empty name.
pub(crate) fn add(waiting: &mut Gpus, line: &str, types: &[String]) {
    let Some(job) = columns(line) else { return };
    let [
        nodes,
        tasks,
        per_job,
        per_node,
        per_task,
        tres,
        feature,
        reason,
    ] = &job;
    if !is_for_resources(reason) {
        return;
    }
    let (nodes, tasks) = (nodes.parse().unwrap_or(1), tasks.parse().unwrap_or(1));
    let asked = asked(tres, [(per_job, 1), (per_node, nodes), (per_task, tasks)]);
    for (gres, count) in asked {
        let gres = if gres.is_empty() {
            named_by(feature, types)
        } else {
            gres
        };
        gres::add(waiting, &gres, count);
    }
}

fn columns(line: &str) -> Option<[String; COLUMNS.len()]> {
    let mut chars = line.chars();
    let cells = COLUMNS.map(|(_, width)| {
        chars
            .by_ref()
            .take(width)
            .collect::<String>()
            .trim()
            .to_owned()
    });
    (!cells[0].is_empty()).then_some(cells)
}

/// The trackable resources where they name types; else the types of the request, with the total of
/// the trackable resources where the site tracks GPUs at all.
fn asked(tres: &str, requests: [(&String, u32); 3]) -> Gpus {
    let total = gres::parse_tres(tres);
    if total.iter().any(|(gres, _)| !gres.is_empty()) {
        return total;
    }
    let mut asked = Gpus::new();
    for (request, times) in requests {
        for (gres, count) in gres::parse(request) {
            gres::add(&mut asked, &gres, count.saturating_mul(times));
        }
    }
    match (asked.as_mut_slice(), total.as_slice()) {
        ([], _) => total,
        ([(_, count)], [(_, total)]) => {
            *count = *total;
            asked
        }
        _ => asked,
    }
}

fn named_by(feature: &str, types: &[String]) -> String {
    let words =
        feature.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-' && c != '.');
    let of = |word: &str| types.iter().find(|t| t.eq_ignore_ascii_case(word)).cloned();
    words.filter_map(of).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, types: &[String]) -> Gpus {
        let mut waiting = Gpus::new();
        text.lines().for_each(|line| add(&mut waiting, line, types));
        waiting
    }

    #[test]
    fn who_stands_at_a_limit_of_his_own_does_not_wait_for_gpus() {
        let waiting = |reason| {
            let cells = [
                "1",
                "1",
                "N/A",
                "gres/gpu:h100:4",
                "N/A",
                "cpu=1",
                "(null)",
                reason,
            ];
            !parse(&line(cells), &types()).is_empty()
        };
        assert!(
            ["Resources", "Priority", "None", ""]
                .into_iter()
                .all(waiting)
        );
        for reason in [
            "AssocMaxJobsLimit",
            "QOSMaxGRESPerUser",
            "AssocGrpGRES",
            "JobArrayTaskLimit",
            "Licenses",
            "Reservation",
            "PartitionTimeLimit",
            "BadConstraints",
            "BeginTime",
        ] {
            assert!(!waiting(reason), "{reason}");
        }
    }

    fn types() -> Vec<String> {
        ["a100", "h100", "h200"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_real_queue_is_read() {
        let waiting = parse(include_str!("captures/22.05/pending.txt"), &types());
        // 8 a100; an array of 3 x 8 and 4 tasks x 2 h100; 8 of any type with the feature h200. The
        // job that waits for another and the one that is held do not count.
        let expected = [("a100", 8), ("h100", 32), ("h200", 8)].map(|(g, n)| (g.to_owned(), n));
        assert_eq!(waiting, expected);
    }

    fn line(cells: [&str; 8]) -> String {
        COLUMNS
            .iter()
            .zip(cells)
            .map(|((_, width), cell)| format!("{cell:>width$}"))
            .collect::<String>()
            + "\n"
    }

    #[test]
    fn sites_that_track_no_types_or_no_gpus_are_read_from_the_request() {
        let untyped = line([
            "1",
            "1",
            "N/A",
            "gres/gpu:h100:4",
            "N/A",
            "cpu=1,gres/gpu=4",
            "(null)",
            "Resources",
        ]);
        let untracked = line([
            "2",
            "4",
            "N/A",
            "gres/gpu:a100:4",
            "N/A",
            "cpu=1,mem=1G",
            "(null)",
            "Priority",
        ]);
        let blank = line(["1", "3", "", "", "gres:gpu:2", "cpu=1", "", "Priority"]);
        let text = [untyped, untracked, blank, "\n".into(), "junk".into()].concat();
        let expected = [("h100", 4), ("a100", 8), ("", 6)].map(|(g, n)| (g.to_owned(), n));
        assert_eq!(parse(&text, &types()), expected);
    }
}
