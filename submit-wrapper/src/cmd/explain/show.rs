//! An explanation in words and as JSON.

use std::io::Write;

use model_store::advisor::cold::start;
use model_store::advisor::contest::{Lever, What};
use model_store::advisor::explain::{Explained, Explanation, NearRun};
use model_store::advisor::memory::room;
use model_store::advisor::words::count_of;
use model_store::advisor::words::{self, grouped, grouped_count};
use model_store::advisor::{Assessed, Preferences, Request, RunOutcome, Term, setup_of};
use serde_json::{Value, json};

use super::super::advise::{candidate_json, why};
use super::Subject;
use super::again::Again;

/// Candidates that are shown by term unless all are asked for.
const FEW: usize = 5;

/// The explanation as JSON.
pub(super) fn as_json(subject: &Subject, e: &Explanation) -> anyhow::Result<Value> {
    let advice = &subject.advice;
    let candidates: Vec<Value> = advice
        .candidates
        .iter()
        .zip(&e.candidates)
        .map(|(a, x)| {
            let mut value = candidate_json(&subject.request, a);
            value["contributions"] = by_term(x);
            value["behind"] = json!(x.behind);
            value["to_win"] = json!(x.to_win);
            value["to_win_together"] = json!(x.together);
            value["outlook"] = json!(a.outlook);
            value["launches"] = json!(x.launches);
            value
        })
        .collect();
    Ok(json!({
        "advice": advice.id,
        "asked_for": subject.again.as_ref().map(|(id, _)| id),
        "made_again": subject.again.as_ref().map(|(_, how)| how),
        "snapshot": advice.snapshot_id,
        "model": advice.model,
        "waits": subject.waits,
        "verdict": advice.verdict,
        "evidence": advice.evidence,
        "request": subject.request,
        "ranking": advice.ranking,
        "economy": subject.basis.snapshot.body.economy,
        "preferences": subject.basis.snapshot.body.preferences,
        "rests_on": e.rests_on,
        "candidates": candidates,
    }))
}

fn by_term(x: &Explained) -> Value {
    let of = |t: &Term| (t.name().to_owned(), json!(x.contributions[*t as usize]));
    Term::ALL
        .iter()
        .map(of)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Prints the explanation.
pub(super) fn print(subject: &Subject, e: &Explanation, all: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let advice = &subject.advice;
    for line in words::lines(advice, &subject.request) {
        writeln!(out, "{line}")?;
    }
    if let Some((id, how)) = &subject.again {
        writeln!(out, "{}", relation(id, *how, &advice.id))?;
    }
    if let Some(waits) = &subject.waits {
        writeln!(out, "{waits}")?;
    }
    by_terms(&mut out, subject, e, all)?;
    others(&mut out, subject, e, all)?;
    if !e.rests_on.is_empty() {
        writeln!(out, "\nnearest measured runs")?;
    }
    for run in &e.rests_on {
        writeln!(out, "  {}", near(run))?;
    }
    writeln!(out, "\n{}", words::ranked_by(&advice.ranking))?;
    for line in preferences(&subject.basis.snapshot.body.preferences) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn relation(id: &str, how: Again, now: &str) -> String {
    match how {
        Again::Same => format!("advice {id}, made again as it was given"),
        Again::OtherSnapshot => format!(
            "advice {id} was given from a snapshot that is not kept here; this is advice {now}, from what is published now"
        ),
        Again::NotFound => format!(
            "nothing that is known here gives advice {id}; this is advice {now}, from what is published now"
        ),
    }
}

/// The candidates that can be recommended, with weight times term.
fn by_terms(
    out: &mut impl Write,
    subject: &Subject,
    e: &Explanation,
    all: bool,
) -> std::io::Result<()> {
    let advice = &subject.advice;
    let counted = &advice.ranking.counted;
    let mut rows = advice
        .candidates
        .iter()
        .zip(&e.candidates)
        .filter(|(a, _)| a.fallen.is_none())
        .peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    write!(out, "\n{:<32}", "utility = weight x term")?;
    for term in counted {
        write!(out, " {:>10}", term.name())?;
    }
    writeln!(out, " {:>9} {:>8}", "utility", "behind")?;
    let mut hidden = 0;
    for (i, (a, x)) in rows.enumerate() {
        if i >= FEW && !all {
            hidden += 1;
            continue;
        }
        write!(out, "{:<32}", a.config)?;
        for term in counted {
            write!(out, " {:>10}", number(x.contributions[*term as usize]))?;
        }
        writeln!(out, " {:>9} {:>8}", number(a.utility), number(x.behind))?;
        let lines = to_win(a, x).into_iter().chain(launches(x));
        for line in lines.chain(room_of(&subject.request, a)) {
            writeln!(out, "  {line}")?;
        }
    }
    if hidden > 0 {
        writeln!(out, "... and {hidden} more; `--all` shows them")?;
    }
    Ok(())
}

fn number(x: Option<f64>) -> String {
    // Nothing is not less than nothing: adding zero takes the sign away.
    x.map_or_else(
        || "-".into(),
        |x| format!("{:.3}", (x * 1000.0).round() / 1000.0 + 0.0),
    )
}

/// What it takes for a candidate to win, in one line.
fn to_win(a: &Assessed, x: &Explained) -> Option<String> {
    let all: Vec<String> = x.to_win.iter().map(lever).collect();
    let what = if a.fallen.is_some() {
        "would be admitted with"
    } else {
        "would win with"
    };
    let between = if x.together { " and " } else { ", or " };
    (!all.is_empty()).then(|| format!("{what} {}", all.join(between)))
}

/// What memory has room for, and how long the start takes.
fn room_of(request: &Request, a: &Assessed) -> Option<String> {
    let s = setup_of(request, &a.config)?;
    let (room, begins) = (room(&s), start(&s));
    let [lo, q50, hi] = room.kv_tokens.map(grouped);
    let phases = [
        ("loading", begins.load),
        ("compiling", begins.compile),
        ("graphs", begins.graphs),
    ];
    let phases: Vec<String> = phases
        .iter()
        .filter(|(_, phase)| phase.seconds >= 1.0)
        .map(|(name, phase)| format!("{name} {}", grouped(phase.seconds)))
        .collect();
    Some(format!(
        "KV cache of {q50} tokens [{lo}-{hi}], contexts up to {}; start {} s [{}-{}]: {} s",
        grouped_count(room.longest[0] as u64),
        grouped(begins.seconds.q50),
        grouped(begins.seconds.lo),
        grouped(begins.seconds.hi),
        phases.join(", ")
    ))
}

/// Its launches, with how those ended that failed.
fn launches(x: &Explained) -> Option<String> {
    let rate = x.launches?;
    let failed: u32 = rate.failures.iter().sum();
    let classes = RunOutcome::ALL.iter().skip(1).zip(rate.failures);
    let classes: Vec<String> = classes
        .filter(|(_, n)| *n > 0)
        .map(|(o, n)| format!("{n} {}", o.name()))
        .collect();
    let how = if classes.is_empty() {
        String::new()
    } else {
        format!(": {}", classes.join(", "))
    };
    Some(format!(
        "{failed} of {} failed{how}",
        count_of(rate.n, "launch")
    ))
}

fn lever(l: &Lever) -> String {
    let of = |label: &str, side: &str, unit: &str, scale: f64| {
        let now = l
            .now
            .map_or_else(String::new, |n| format!(" (now {})", grouped(n * scale)));
        format!("{label} {side} {}{unit}{now}", grouped(l.needed * scale))
    };
    match l.what {
        What::PricePerGpuHour => of("a price", "below", " per GPU-hour", 1.0),
        What::Throughput => of("a throughput", "above", " tok/s", 1.0),
        What::Wait => of("a wait", "below", " h", 1.0),
        What::WaitOfAdvised => of("the advised one's wait", "above", " h", 1.0),
        What::LaunchSuccess => of("starts that succeed", "above", " %", 100.0),
        What::TtftLimit => of("a TTFT target", "from", " ms", 1.0),
        What::TpotLimit => of("a TPOT target", "from", " ms", 1.0),
        What::EndToEndLimit => of("an end-to-end target", "from", " ms", 1.0),
        What::Rate => of("a rate", "up to", " requests/s", 1.0),
    }
}

/// The candidates that cannot be recommended, each with its reason.
fn others(
    out: &mut impl Write,
    subject: &Subject,
    e: &Explanation,
    all: bool,
) -> std::io::Result<()> {
    let rows = subject.advice.candidates.iter().zip(&e.candidates);
    let fallen: Vec<_> = rows
        .filter_map(|(a, x)| Some((a, x, a.fallen.as_ref()?)))
        .collect();
    if fallen.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nnot offered")?;
    let shown = if all { fallen.len() } else { 2 * FEW };
    for (a, x, reason) in fallen.iter().take(shown) {
        writeln!(out, "{:<32} {}", a.config, why(reason))?;
        if let Some(line) = to_win(a, x) {
            writeln!(out, "  {line}")?;
        }
    }
    if fallen.len() > shown {
        let hidden = fallen.len() - shown;
        writeln!(out, "... and {hidden} more; `--all` shows them")?;
    }
    Ok(())
}

fn near(run: &NearRun) -> String {
    let origin = run.origin.map_or("origin not known", |o| o.name());
    let name = if run.run_id.starts_with(&run.source) {
        run.run_id.clone()
    } else {
        format!("{} {}", run.source, run.run_id)
    };
    format!(
        "{}, {} tokens, {} in flight: {name} ({origin}), distance {:.2}",
        run.what,
        grouped(run.context),
        grouped(run.in_flight),
        run.distance
    )
}

/// Where the weights come from, a line each.
pub(crate) fn preferences(p: &Preferences) -> Vec<String> {
    if p.needed == 0 {
        return Vec::new();
    }
    if p.estimates.is_empty() {
        return vec![format!(
            "weights as configured: {}, {} are needed to learn from",
            count_of(p.choices, "past choice"),
            p.needed
        )];
    }
    let state = if p.used {
        "learnt"
    } else {
        "learnt but not used"
    };
    let mut out = vec![format!(
        "weights {state} from {}",
        count_of(p.choices, "past choice")
    )];
    out.extend(p.estimates.iter().map(|e| {
        format!(
            "  {:<10} {:.2} +- {:.2} (configured {:.2})",
            e.term.name(),
            e.estimate,
            e.standard_error,
            e.prior
        )
    }));
    out
}
