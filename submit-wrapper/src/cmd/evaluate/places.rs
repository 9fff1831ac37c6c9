//! What is said of places: each source as a stranger, and as a new site with runs of its own.

use std::io::{Result, Write};

use model_store::train::evaluate::new_site::{SiteDecisions, SiteScore};
use model_store::train::evaluate::{Evaluation, Policy};

/// Both tables, each where there is one.
pub(super) fn print(out: &mut impl Write, e: &Evaluation) -> Result<()> {
    if !e.strangers.is_empty() {
        head(out, "left out with its kin", "load")?;
    }
    for s in &e.strangers {
        let place = format!("{:<24}{:<12}", s.source, s.load);
        lines(out, &place, &s.targets, s.decisions.as_ref())?;
    }
    if !e.new_site.is_empty() {
        head(out, "new site", "own runs")?;
    }
    for s in &e.new_site {
        let place = format!("{:<24}{:<12}", s.source, s.own);
        lines(out, &place, &s.targets, s.decisions.as_ref())?;
    }
    Ok(())
}

fn head(out: &mut impl Write, what: &str, by: &str) -> Result<()> {
    writeln!(
        out,
        "\n{what:<24}{by:<12}{:<14}{:>6}{:>9}{:>9}{:>7}{:>10}{:>9}{:>10}{:>15}{:>16}",
        "target",
        "n",
        "MAPE %",
        "median %",
        "bias",
        "coverage",
        "width",
        "answered",
        "wrong flagged",
        "right answered"
    )
}

/// A line for each target, and one for the decisions.
fn lines(
    out: &mut impl Write,
    place: &str,
    targets: &[SiteScore],
    decisions: Option<&SiteDecisions>,
) -> Result<()> {
    let percent = |x: f64| format!("{:.0}", x * 100.0);
    let known = |x: Option<f64>| x.map_or_else(|| "-".into(), percent);
    for t in targets {
        writeln!(
            out,
            "{place}{:<14}{:>6}{:>9.1}{:>9.1}{:>+7.2}{:>10}{:>9}{:>10}{:>15}{:>16}",
            t.target,
            t.n,
            t.mape * 100.0,
            t.median * 100.0,
            t.bias,
            percent(t.coverage),
            format!("x {:.2}", t.width),
            percent(t.answered),
            known(t.wrong_flagged),
            known(t.right_answered),
        )?;
    }
    let Some(d) = decisions else { return Ok(()) };
    let of = |(policy, top1, regret): &(Policy, f64, f64)| {
        format!("{} {:.0} % {regret:.3}", policy.name(), top1 * 100.0)
    };
    let policies: Vec<String> = d.policies.iter().map(of).collect();
    writeln!(
        out,
        "{place}{} decisions, top-1 and regret: {}",
        d.n,
        policies.join(", ")
    )
}
