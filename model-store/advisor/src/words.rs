//! What an advice says to people: at most four lines, the reason in numbers, then a hint.

use super::advice::{Advice, Assessed, AxisOut, Evidence, Fallen, Ranking, Verdict};
use super::economy::Term;
use super::numbers::short;
pub use super::numbers::{count_of, grouped, grouped_count};
use super::rank::limits;
use super::request::Request;
use super::run::Target;

/// The lines for an advice, without prefix.
pub fn lines(advice: &Advice, request: &Request) -> Vec<String> {
    match &advice.verdict {
        Verdict::Recommend(_) => advice
            .recommended()
            .map_or_else(Vec::new, |best| recommendation(advice, best, request)),
        Verdict::Abstain(axes) => abstention(advice, axes),
        Verdict::Infeasible(reason) => infeasible(advice, request, reason),
    }
}

fn recommendation(advice: &Advice, best: &Assessed, request: &Request) -> Vec<String> {
    let mut parts = vec![numbers(best, Target::OutputTokS, "")];
    for (target, label) in [
        (Target::TtftMs, "TTFT "),
        (Target::TpotMs, "TPOT "),
        (Target::LaunchSuccess, "starts "),
    ] {
        if best.prediction(target).is_some() {
            parts.push(numbers(best, target, label));
        }
    }
    let basis = basis(&advice.evidence, &best.config.gres);
    let mut out = vec![format!("{}: {}{basis}", best.config, parts.join(", "))];
    let per_hour = best
        .tokens_per_gpu_hour
        .map_or_else(String::new, |t| format!("{} tokens per GPU-hour", short(t)));
    let context = best
        .config
        .max_len
        .map_or_else(String::new, |n| format!(", context limited to {n} tokens"));
    // A chance beside a target that was not checked would speak of the others alone.
    let unchecked = unchecked(best, request);
    let miss = best.outlook.miss.filter(|_| unchecked.is_none());
    let meets = miss.map_or_else(String::new, |miss| {
        format!(
            ", {:.0} % likely to meet what was stated",
            (1.0 - miss) * 100.0
        )
    });
    let load = best
        .config
        .max_num_seqs
        .map_or_else(String::new, |n| format!(", at most {n} in flight"));
    out.push(format!(
        "{per_hour}{meets}{load}{context} (advice {})",
        advice.id
    ));
    out.extend(unchecked);
    out.extend(near_miss(advice, best, request).filter(|_| out.len() < 3));
    out.extend(not_counted(&advice.ranking).filter(|_| out.len() < 3));
    out
}

/// How long so many requests take in all, and what they cost in GPU-hours.
pub fn batch(best: &Assessed, requests: f64) -> String {
    let all = grouped(requests);
    let Some(rate) = best.prediction(Target::ReqS) else {
        return format!("{all} requests: how long they take is not known");
    };
    let hours = |per_s: f64| requests / per_s / 3600.0;
    let gpus = f64::from(best.config.gpus());
    format!(
        "{all} requests: {} h [{}-{}], {} GPU-hours",
        short(hours(rate.q50)),
        short(hours(rate.hi)),
        short(hours(rate.lo)),
        short(hours(rate.q50) * gpus)
    )
}

/// By how much a latency may be missed and still be worth a word.
const NEAR: f64 = 1.1;
/// Share of the advised price below which a near miss is worth a word.
const MUCH_CHEAPER: f64 = 0.67;

/// A configuration that misses a stated latency by little and costs much less: whether the target is
/// worth the difference is for people to say.
fn near_miss(advice: &Advice, best: &Assessed, request: &Request) -> Option<String> {
    let asked = limits(request);
    let over = |a: &Assessed| {
        let ratios = asked.iter().filter(|l| l.is_latency());
        let ratios = ratios.filter_map(|l| Some((l.prediction(a)?.q50 / l.at, *l)));
        ratios.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let near = advice.candidates.iter().filter_map(|a| {
        let (ratio, limit) = over(a).filter(|(ratio, _)| (1.0..=NEAR).contains(ratio))?;
        let cheap = a.price_per_hour < best.price_per_hour * MUCH_CHEAPER;
        let missed = matches!(a.fallen, Some(Fallen::MissesTarget(_)));
        (cheap && missed).then_some((ratio, limit, a))
    });
    let (_, limit, a) = near.min_by(|a, b| a.2.price_per_hour.total_cmp(&b.2.price_per_hour))?;
    Some(format!(
        "near miss: {} has a {} of {} ms, {} were asked for, at {:.0} % of the price",
        a.config,
        limit.name,
        grouped(limit.prediction(a)?.q50),
        grouped(limit.at),
        a.price_per_hour / best.price_per_hour * 100.0
    ))
}

/// What the ranking should have gone by and could not: never taken as nothing in silence. What
/// was stated of latencies has a line of its own.
fn not_counted(ranking: &Ranking) -> Option<String> {
    let wanted = ranking.left_out.iter().filter(|l| l.wanted);
    let reasons: Vec<&str> = wanted
        .filter(|l| l.term != Term::Slo)
        .map(|l| l.reason.as_str())
        .collect();
    (!reasons.is_empty()).then(|| format!("not counted: {}", reasons.join("; ")))
}

/// The line that compares the advice with what the user had asked for, such as `gpu:a100:8`: with
/// the best that those GPUs could do where that is known.
pub fn instead_of(advice: &Advice, asked: &str) -> String {
    let plain = format!("instead of {asked}");
    let mut parts = asked.split(':').skip(1);
    let (Some(gres), Some(Ok(gpus))) = (parts.next(), parts.next().map(str::parse::<u32>)) else {
        return plain;
    };
    let known = |a: &&Assessed| {
        a.config.gres.eq_ignore_ascii_case(gres) && a.config.gpus() == gpus && a.fallen.is_none()
    };
    let former = advice.candidates.iter().find(known);
    let gain = advice
        .recommended()
        .and_then(|best| Some(best.tokens_per_gpu_hour? / former?.tokens_per_gpu_hour?));
    match (former, gain) {
        (Some(former), Some(gain)) if gain.is_finite() && gain >= 0.05 => {
            format!(
                "{plain}, {}: {gain:.1} x the tokens per GPU-hour",
                former.config.precision
            )
        }
        _ => plain,
    }
}

/// `2,310 tok/s [2,050-2,560]`.
fn numbers(a: &Assessed, target: Target, label: &str) -> String {
    let Some(p) = a.prediction(target) else {
        return format!("{label}not known");
    };
    if target == Target::LaunchSuccess {
        return format!(
            "{label}with {} ({} at least)",
            percent(p.q50),
            percent(p.lo)
        );
    }
    format!(
        "{label}{} {} [{}-{}]",
        grouped(p.q50),
        target.unit(),
        grouped(p.lo),
        grouped(p.hi)
    )
}

/// A share in percent; nothing that was seen makes it 100.
fn percent(share: f64) -> String {
    match share * 100.0 {
        x if x >= 99.5 => "over 99 %".into(),
        x => format!("{x:.0} %"),
    }
}

/// Until this cluster's runs take over, the first line says what else the evidence is; runs on
/// other GPU types here do not make it this cluster's.
fn basis(e: &Evidence, gres: &str) -> String {
    let elsewhere = e.other_cluster + e.published;
    let what = if e.other_cluster == 0 {
        "published figures"
    } else {
        "runs measured elsewhere"
    };
    let from = format!("from {} {what}", grouped_count(elsewhere.into()));
    if elsewhere == 0 || e.leads() {
        String::new()
    } else if e.this_cluster > 0 {
        format!(
            " ({from} and {} here on {gres})",
            count_of(e.this_cluster, "run")
        )
    } else if e.on_other_gpus > 0 {
        format!(" ({from}; nothing measured here on {gres})")
    } else if e.published_alone() {
        format!(" ({from} alone)")
    } else {
        format!(" ({from})")
    }
}

/// What candidates were ranked by, and what is left out: `ranked by tokens, price; not counted:
/// ...`.
pub fn ranked_by(ranking: &Ranking) -> String {
    let counted: Vec<&str> = ranking.counted.iter().map(|t| t.name()).collect();
    let left_out: Vec<&str> = ranking.left_out.iter().map(|l| l.reason.as_str()).collect();
    let mut out = format!("ranked by {}", counted.join(", "));
    if !left_out.is_empty() {
        out.push_str(&format!("; not counted: {}", left_out.join("; ")));
    }
    out
}

/// A latency target that nothing is known about is named, never silently taken as met.
fn unchecked(best: &Assessed, request: &Request) -> Option<String> {
    let unknown: Vec<&str> = limits(request)
        .into_iter()
        .filter(|limit| limit.prediction(best).is_none())
        .map(|limit| limit.name)
        .collect();
    (!unknown.is_empty()).then(|| {
        format!(
            "{} not known yet: the stated target was not checked",
            unknown.join(", ")
        )
    })
}

fn abstention(advice: &Advice, axes: &[AxisOut]) -> Vec<String> {
    let mut out = vec![format!(
        "no advice for {}: outside what was measured",
        advice.model
    )];
    let mut shown: Vec<String> = axes
        .iter()
        .take(2)
        .map(|a| format!("{} {}, measured {}", a.axis, a.asked, cut(&a.measured)))
        .collect();
    if let (Some(last), Some(run)) = (shown.last_mut(), &advice.nearest_run) {
        last.push_str(&format!("; nearest run {run}"));
    }
    out.append(&mut shown);
    out.push(
        "hint: a job with `--llm-advice=explore` goes as it is written and is learnt from".into(),
    );
    out
}

fn infeasible(advice: &Advice, request: &Request, reason: &str) -> Vec<String> {
    let pins = &request.pins;
    let fixed = [
        ("GPU type", pins.gpu.is_some()),
        ("TP", pins.tp.is_some()),
        ("precision", pins.precision.is_some()),
    ];
    let fixed: Vec<&str> = fixed.iter().filter(|f| f.1).map(|f| f.0).collect();
    let way_out = match fixed.is_empty() {
        true => "a shorter context, a smaller model or larger GPUs would do".to_owned(),
        false => format!(
            "another {} may do, if you need not fix it",
            fixed.join(" or ")
        ),
    };
    vec![
        format!("no configuration for {}", advice.model),
        reason.to_owned(),
        format!("hint: {way_out}"),
    ]
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 100;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST).collect();
    format!("{head}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_the_advice_rests_on_until_this_clusters_runs_lead() {
        let of = |this_cluster, on_other_gpus, other_cluster, published| {
            let evidence = Evidence {
                this_cluster,
                on_other_gpus,
                other_cluster,
                published,
            };
            basis(&evidence, "h100")
        };
        for (said, expected) in [
            (of(0, 0, 0, 717), " (from 717 published figures alone)"),
            (of(0, 0, 9000, 717), " (from 9,717 runs measured elsewhere)"),
            (
                of(0, 5, 0, 717),
                " (from 717 published figures; nothing measured here on h100)",
            ),
            (
                of(1, 0, 0, 717),
                " (from 717 published figures and 1 run here on h100)",
            ),
            (
                of(30, 40, 9000, 717),
                " (from 9,717 runs measured elsewhere and 30 runs here on h100)",
            ),
            (of(100, 300, 9000, 717), ""),
            (of(20, 0, 0, 0), ""),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_count_agrees_with_its_noun() {
        let shown = [0u32, 1, 2, 9083].map(|n| count_of(n, "run"));
        assert_eq!(shown, ["0 runs", "1 run", "2 runs", "9,083 runs"]);
        assert_eq!(count_of(2u32, "launch"), "2 launches");
    }

    #[test]
    fn numbers_carry_three_digits() {
        let shown = [0.6312, 4.0, 42.123, 2312.0, 41_234.9, 1_234_567.0].map(grouped);
        assert_eq!(
            shown,
            ["0.631", "4.00", "42.1", "2,310", "41,200", "1,230,000"]
        );
    }
}
