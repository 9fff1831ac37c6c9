//! What this cluster's own starts say: how far the KV cache that engines report is from what is
//! reckoned, and how fast its file systems give weights.
//!
//! A start may be one user's claim, so each user counts once: what is learnt is the median over users of
//! each user's median. No shift exceeds [`MOST`] of a GPU's memory. What fewer than three users say
//! decides nothing: see [`PoolShift::users`].

use std::collections::{BTreeMap, BTreeSet};

use crate::advisor::memory::{kv_gib_of_tokens, memory};
use crate::advisor::{
    Catalogue, Limits, Origin, PoolShift, Precision, ReadRate, Run, RunOutcome, StartLog, Starts,
};

use super::prepare::{Sample, by_content, sample};

/// Largest shift, as a share of a GPU's memory.
const MOST: f64 = 0.15;
/// Starts that what is reckoned is worth against those of one configuration, and configurations
/// against those of an engine.
const WORTH: f64 = 1.0;
/// Deviation between two starts of one configuration, GiB, and what the median of an engine leaves
/// at least.
const REPEATED_GIB: f64 = 0.15;
const OTHERS_GIB: f64 = 0.4;
/// Weights that come faster than this, GB/s, lay in a cache.
const CACHED_GB_S: f64 = 3.0;

type Key = (String, String, String, u32, Precision);
/// What each user's starts say.
type Said<'a> = BTreeMap<&'a str, Vec<f64>>;

/// Learns from the runs of this cluster, each with the user whose job measured it. A start with many
/// windows counts once; runs of no known user count as those of one. The order of the runs does not matter.
pub fn learn(measured: &[(&Run, Option<&str>)], catalogue: &Catalogue) -> Starts {
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut pools: BTreeMap<Key, Said> = BTreeMap::new();
    let mut rates: BTreeMap<String, Said> = BTreeMap::new();
    let home = |(run, _): &(&Run, Option<&str>)| {
        run.origin == Origin::ThisCluster && run.measured.outcome == RunOutcome::Ok
    };
    let mut starts: Vec<_> = measured.iter().copied().filter(home).collect();
    starts.sort_by(|a, b| by_content(a.0, b.0).then_with(|| a.1.cmp(&b.1)));
    for (run, user) in starts {
        let log = StartLog::in_notes(&run.notes);
        let job = run.source_ref.split(" window ").next();
        let start = (run.source.as_str(), job.unwrap_or_default());
        if log.is_empty() || seen.contains(&start) {
            continue;
        }
        let Ok(s) = sample(run, catalogue) else {
            continue;
        };
        seen.insert(start);
        let user = user.unwrap_or_default();
        if let Some(off) = off_by(&s, &log) {
            let said = pools.entry(key(&s)).or_default();
            said.entry(user).or_default().push(off);
        }
        if let Some(rate) = read_rate(&s, &log) {
            let said = rates.entry(log.storage.clone()).or_default();
            said.entry(user).or_default().push(rate);
        }
    }
    Starts {
        pools: shifts(&pools),
        rates: rates
            .into_iter()
            .filter_map(|(storage, said)| {
                let n = said.values().map(Vec::len).sum::<usize>();
                let n = u32::try_from(n).unwrap_or(u32::MAX);
                let gb_s = over_users(&said, |own| first_load(&mut own.to_vec()))?;
                Some(ReadRate { storage, n, gb_s })
            })
            .collect(),
    }
}

fn key(s: &Sample) -> Key {
    (
        s.setup.engine.to_owned(),
        s.setup.card.name.clone(),
        s.setup.gpu.name.to_owned(),
        s.setup.tp,
        s.setup.precision.pooled(),
    )
}

/// GiB of one GPU by which the KV cache of a start is larger than what is reckoned for it.
fn off_by(s: &Sample, log: &StartLog) -> Option<f64> {
    let mut setup = s.setup.clone();
    setup.starts = None;
    setup.limits = Limits::in_notes(&s.run.notes);
    // A share that nobody stated may be any, so the cache says nothing of what the rest takes.
    setup.limits.memory_share?;
    let measured = match (log.kv_gib, log.kv_tokens) {
        (Some(gib), _) => gib,
        (None, Some(tokens)) => kv_gib_of_tokens(&setup, tokens),
        (None, None) => return None,
    };
    let most = MOST * setup.gpu.memory_gib;
    let off = measured - memory(&setup).left();
    (off.is_finite() && measured > 0.0).then(|| off.clamp(-most, most))
}

/// GB/s at which a node read the weights of a start.
fn read_rate(s: &Sample, log: &StartLog) -> Option<f64> {
    let seconds = log.load_s.filter(|t| *t > 0.05)?;
    let bytes = s.setup.card.weight_bytes(s.setup.precision) / f64::from(s.setup.pp.max(1));
    (!log.storage.is_empty()).then(|| (bytes / 1e9 / seconds).clamp(1e-3, 100.0))
}

/// The median of first loads: of those that did not come out of a cache, where there were any.
fn first_load(all: &mut Vec<f64>) -> Option<f64> {
    if all.iter().any(|rate| *rate < CACHED_GB_S) {
        all.retain(|rate| *rate < CACHED_GB_S);
    }
    median(all)
}

/// Of each configuration, then of each engine.
fn shifts(pools: &BTreeMap<Key, Said>) -> Vec<PoolShift> {
    let mut out = Vec::new();
    let mut engines: BTreeMap<&str, (usize, Said)> = BTreeMap::new();
    for ((engine, model, gpu, tp, precision), said) in pools {
        let Some(middle) = Middle::of(said) else {
            continue;
        };
        let (configurations, all) = engines.entry(engine).or_default();
        *configurations += 1;
        for (user, own) in said {
            all.entry(user)
                .or_default()
                .extend(median(&mut own.clone()));
        }
        let starts: usize = said.values().map(Vec::len).sum();
        let n = starts as f64;
        out.push(PoolShift {
            engine: engine.clone(),
            model: model.clone(),
            gpu: gpu.clone(),
            tp: *tp,
            precision: *precision,
            users: said.len() as u32,
            shift_gib: middle.at * n / (n + WORTH * REPEATED_GIB),
            spread_gib: REPEATED_GIB + middle.spread + REPEATED_GIB / n,
        });
    }
    for (engine, (configurations, said)) in engines {
        let n = configurations as f64;
        let Some(middle) = Middle::of(&said) else {
            continue;
        };
        out.push(PoolShift {
            engine: engine.to_owned(),
            model: String::new(),
            gpu: String::new(),
            tp: 0,
            precision: Precision::Bf16,
            users: said.len() as u32,
            shift_gib: middle.at * (n - 1.0).max(0.0) / (n + WORTH),
            spread_gib: OTHERS_GIB + middle.spread + 1.0 / n,
        });
    }
    out
}

/// The middle of what users say, each of whom counts once.
struct Middle {
    at: f64,
    /// Median distance from it, as the deviation of a normal distribution.
    spread: f64,
}

impl Middle {
    fn of(said: &Said) -> Option<Self> {
        let at = over_users(said, |own| median(&mut own.to_vec()))?;
        let away = over_users(said, |own| {
            let mut away: Vec<f64> = own.iter().map(|x| (x - at).abs()).collect();
            median(&mut away)
        })?;
        Some(Self {
            at,
            spread: away * 1.4826,
        })
    }
}

/// The median over users of what each one's figures come to.
fn over_users(said: &Said, of: impl Fn(&[f64]) -> Option<f64>) -> Option<f64> {
    let mut all: Vec<f64> = said.values().filter_map(|own| of(own)).collect();
    median(&mut all)
}

fn median(all: &mut [f64]) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    let (low, high) = (
        all.get(all.len().saturating_sub(1) / 2)?,
        all.get(all.len() / 2)?,
    );
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisor::feasible::infeasible;
    use crate::advisor::{Case, Measured, Setup, Variant, Workload};
    use proptest::prelude::*;

    fn pools<'a>(offs: &[(&str, &'a str, &[f64])]) -> BTreeMap<Key, Said<'a>> {
        let mut out: BTreeMap<Key, Said> = BTreeMap::new();
        for (model, user, all) in offs {
            let key = (
                "vllm".into(),
                (*model).into(),
                "H200".into(),
                1,
                Precision::Bf16,
            );
            out.entry(key).or_default().insert(user, all.to_vec());
        }
        out
    }

    fn of<'a>(all: &'a [PoolShift], model: &str) -> &'a PoolShift {
        all.iter().find(|p| p.model == model).unwrap()
    }

    #[test]
    fn one_configuration_corrects_itself_and_several_their_engine() {
        let one = shifts(&pools(&[("a", "u", &[-2.0, -2.1, -1.9])]));
        assert!((of(&one, "a").shift_gib + 2.0).abs() < 0.15);
        assert_eq!(of(&one, "").shift_gib, 0.0, "one says nothing of others");
        let more = shifts(&pools(&[
            ("a", "u", &[-2.0]),
            ("b", "v", &[-1.8]),
            ("c", "w", &[-2.2]),
        ]));
        assert!(of(&more, "").shift_gib < -0.9);
        assert_eq!((of(&more, "a").users, of(&more, "").users), (1, 3));
    }

    const BIG: &str = "meta-llama/Llama-3.1-70B-Instruct";

    /// A start that left so much for the KV cache of one GPU.
    fn start(job: u32, engine: &str, notes: &str) -> Run {
        Run {
            run_id: job.to_string(),
            origin: Origin::ThisCluster,
            source: "cluster:c".into(),
            source_ref: format!("job {job} window 0"),
            case: Case {
                model: BIG.into(),
                params_b: None,
                active_params_b: None,
                gpu_mem_gb: None,
                pp: 1,
                dp: 1,
                kv_precision: None,
                workload: Workload::ClosedLoop,
                request_rate: None,
                engine_version: String::new(),
                variant: Variant::default(),
                gpu: "H100-SXM".into(),
                tp: Some(2),
                precision: Some(Precision::Bf16),
                isl: Some(1000.0),
                osl: Some(100.0),
                concurrency: Some(8.0),
                engine: engine.into(),
            },
            measured: Measured {
                outcome: RunOutcome::Ok,
                ..Measured::default()
            },
            notes: format!("state COMPLETED; {notes}"),
        }
    }

    /// What is refused with these starts, over contexts.
    fn decided(starts: Option<&Starts>) -> Vec<Option<String>> {
        let catalogue = Catalogue::built_in();
        let case = start(0, "vllm", "").case;
        let setup = Setup::of_case(&case, "", &catalogue).unwrap();
        let of = |isl: f64| Setup {
            isl,
            starts,
            limits: Limits {
                memory_share: Some(0.9),
                context: Some(isl as u32),
                ..Limits::default()
            },
            ..setup.clone()
        };
        let lengths = [1e3, 4e3, 8e3, 16e3, 32e3, 64e3, 128e3].map(of);
        lengths.iter().map(|s| infeasible(s, false)).collect()
    }

    #[test]
    fn what_one_user_says_of_his_starts_refuses_nothing_and_allows_nothing() {
        let catalogue = Catalogue::built_in();
        let before = decided(None);
        for kv_gib in [0.01, 0.5, 12.0, 40.0] {
            let notes = format!("kv_gib={kv_gib}; gpu_memory_utilization=0.9");
            let runs = [1, 2, 3].map(|job| start(job, "vllm", &notes));
            let learnt = |users: [&str; 3]| {
                let said = runs.iter().zip(users).map(|(run, user)| (run, Some(user)));
                let mut said: Vec<_> = said.collect();
                let found = learn(&said, &catalogue);
                said.reverse();
                assert_eq!(learn(&said, &catalogue), found);
                found
            };
            let one = learnt(["alice"; 3]);
            assert!(!one.pools.is_empty());
            assert_eq!(decided(Some(&one)), before, "{kv_gib}");
            assert_eq!(decided(Some(&learnt(["alice", "bob", "bob"]))), before);
            let three = learnt(["alice", "bob", "carol"]);
            assert_ne!(decided(Some(&three)), before, "{kv_gib}");
        }
    }

    #[test]
    fn a_start_whose_share_of_the_memory_is_not_known_says_nothing_of_the_cache() {
        let catalogue = Catalogue::built_in();
        for engine in ["vllm", "sglang", "tensorrt-llm"] {
            let of = |notes| learn(&[(&start(1, engine, notes), None)], &catalogue).pools;
            assert_eq!(of("kv_tokens=20000"), []);
            assert!(!of("kv_tokens=20000; gpu_memory_utilization=0.9").is_empty());
        }
    }

    proptest! {
        /// However often one of five users says what, and of how many configurations: what is learnt lies among what
        /// the others said.
        #[test]
        fn one_user_moves_nothing_beyond_what_others_say(
            honest in prop::collection::vec(-1.0..1.0f64, 4),
            made_up in prop::collection::vec(-12.0..12.0f64, 1..40),
        ) {
            let users = ["alice", "bob", "carol", "dave"];
            let singles: Vec<[f64; 1]> = honest.iter().map(|x| [*x]).collect();
            let mut all: Vec<(&str, &str, &[f64])> =
                users.iter().zip(&singles).map(|(u, x)| ("a", *u, &x[..])).collect();
            all.push(("a", "mallory", &made_up));
            let others: Vec<String> = (0..made_up.len()).map(|n| format!("of his own {n}")).collect();
            for (model, x) in others.iter().zip(made_up.chunks(1)) {
                all.push((model, "mallory", x));
            }
            let found = shifts(&pools(&all));
            let most = honest.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            for found in [of(&found, "a"), of(&found, "")] {
                prop_assert!(found.shift_gib.abs() <= most + 1e-9);
                prop_assert!(found.spread_gib <= 1.5 + 1.4826 * 2.0 * most);
            }
        }
    }
}
