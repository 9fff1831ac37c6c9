//! How long a job will wait for GPUs, from how long jobs have waited.
//!
//! Weighted quantiles of past waits (kernel quantile regression after C. Stone, Annals of
//! Statistics 5, 1977): a past job counts the more, the nearer it is in GPUs asked for, in the hour
//! of the day, in the backlog that it met, and in time. Below an effective number of jobs nothing is
//! said.

use crate::advisor::{ClusterState, QueueWait, QueueWaits};

/// Effective jobs below which a wait is not known.
const FEWEST: f64 = 12.0;
/// Half-life of a wait, s.
const HALF_LIFE_S: f64 = 10.0 * 86_400.0;
/// Octaves of GPUs, hours of the day and octaves of backlog over which a job's weight falls to e^-1/2.
const BANDWIDTHS: [f64; 3] = [0.6, 3.0, 1.0];
/// Quantiles that are told.
const LEVELS: [f64; 3] = [0.1, 0.5, 0.9];

/// A past wait.
#[derive(Clone, Debug, PartialEq)]
pub struct PastWait {
    /// GPU type, lower case.
    pub gres: String,
    /// GPUs.
    pub gpus: u32,
    /// From when on the job could have begun, Unix seconds.
    pub eligible: i64,
    /// Seconds until it began.
    pub wait_s: f64,
    /// GPUs of the type that others waited for then; `None` where not known.
    pub backlog: Option<u32>,
}

/// The waits of every type and size of the cluster, for a job that is submitted now. `as_of` is how
/// far accounting was read, Unix seconds.
pub fn queue_waits(past: &[PastWait], cluster: &ClusterState, now: i64, as_of: i64) -> QueueWaits {
    let mut waits = Vec::new();
    for pool in &cluster.pools {
        let of_type: Vec<&PastWait> = past
            .iter()
            .filter(|w| w.gres.eq_ignore_ascii_case(&pool.gres))
            .collect();
        let sizes = sizes(&of_type, pool.total);
        for gpus in sizes {
            waits.extend(wait(&of_type, &pool.gres, gpus, pool.pending, now));
        }
    }
    QueueWaits { as_of, waits }
}

/// Powers of two up to what the cluster has, and every size that was asked for.
fn sizes(past: &[&PastWait], total: u32) -> Vec<u32> {
    let powers = (0..32).map(|k| 1u32 << k).take_while(|n| *n <= total);
    let mut all: Vec<u32> = powers.chain(past.iter().map(|w| w.gpus)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn wait(past: &[&PastWait], gres: &str, gpus: u32, backlog: u32, now: i64) -> Option<QueueWait> {
    let mut weighted: Vec<(f64, f64)> = past
        .iter()
        .map(|w| (w.wait_s, weight(w, gpus, backlog, now)))
        .filter(|(_, weight)| *weight > 1e-9)
        .collect();
    weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sum: f64 = weighted.iter().map(|(_, w)| w).sum();
    let squares: f64 = weighted.iter().map(|(_, w)| w * w).sum();
    let effective = if squares > 0.0 {
        sum * sum / squares
    } else {
        0.0
    };
    if effective < FEWEST {
        return None;
    }
    let quantiles_s = LEVELS.map(|level| quantile(&weighted, level * sum));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
    let jobs = effective.round() as u32;
    Some(QueueWait {
        gres: gres.to_owned(),
        gpus,
        quantiles_s,
        jobs,
    })
}

/// The smallest wait up to which so much weight lies.
fn quantile(sorted: &[(f64, f64)], wanted: f64) -> f64 {
    let mut sum = 0.0;
    let found = sorted.iter().find(|(_, weight)| {
        sum += weight;
        sum + 1e-12 >= wanted
    });
    found.or(sorted.last()).map_or(0.0, |(wait, _)| *wait)
}

fn weight(w: &PastWait, gpus: u32, backlog: u32, now: i64) -> f64 {
    let age = (now - w.eligible).max(0) as f64;
    let octaves = (f64::from(w.gpus.max(1)) / f64::from(gpus.max(1))).log2();
    let hours = ((now - w.eligible) as f64 / 3600.0).rem_euclid(24.0);
    let apart = hours.min(24.0 - hours);
    // A backlog that was not observed says nothing, and is as far as two octaves.
    let crowd = w.backlog.map_or(2.0, |then| {
        ((f64::from(then) + 1.0) / (f64::from(backlog) + 1.0)).log2()
    });
    let [by_size, by_hour, by_crowd] = BANDWIDTHS;
    let distance =
        (octaves / by_size).powi(2) + (apart / by_hour).powi(2) + (crowd / by_crowd).powi(2);
    (-distance / 2.0).exp() * 0.5f64.powf(age / HALF_LIFE_S)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisor::GpuPool;

    const NOW: i64 = 1_795_000_000;

    fn cluster(pending: u32) -> ClusterState {
        let pool = GpuPool {
            gres: "h100".into(),
            nodes: 2,
            per_node: 8,
            total: 16,
            free: 0,
            pending,
            partitions: Vec::new(),
        };
        ClusterState {
            pools: vec![pool],
            ..ClusterState::default()
        }
    }

    /// A job every 20 minutes for two weeks; by day, before a backlog, and for more GPUs they wait longer.
    fn past() -> Vec<PastWait> {
        (0..1000)
            .map(|k| {
                let eligible = NOW - k * 1200;
                let hour = (eligible / 3600).rem_euclid(24);
                let by_day = if (8..20).contains(&hour) { 1.0 } else { 0.1 };
                let gpus = 1 << (k % 4);
                let backlog = if k % 3 == 0 { 40 } else { 4 };
                let jitter = 0.5 + (k * 7919 % 100) as f64 / 100.0;
                PastWait {
                    gres: "h100".into(),
                    gpus,
                    eligible,
                    wait_s: 60.0 * f64::from(gpus) * f64::from(backlog) * by_day * jitter,
                    backlog: Some(backlog as u32),
                }
            })
            .collect()
    }

    fn median(waits: &QueueWaits, gpus: u32) -> f64 {
        waits.of("h100", gpus).unwrap().quantiles_s[1]
    }

    #[test]
    fn waits_follow_size_backlog_and_hour() {
        let past = past();
        // Noon and midnight of the same day.
        let noon = NOW - NOW.rem_euclid(86_400) + 12 * 3600;
        let of = |now, pending| queue_waits(&past, &cluster(pending), now, now);
        let crowded = of(noon, 40);
        assert!(median(&crowded, 8) > 2.0 * median(&crowded, 1));
        assert!(median(&crowded, 4) > 2.0 * median(&of(noon, 4), 4));
        assert!(median(&crowded, 4) > 2.0 * median(&of(noon - 12 * 3600, 40), 4));
        for wait in &crowded.waits {
            assert!(
                wait.is_sound() && f64::from(wait.jobs) >= FEWEST,
                "{wait:?}"
            );
        }
    }

    /// On jobs that it has not seen, the quantiles hold what they say, and the median is nearer than
    /// the median of all waits is.
    #[test]
    fn quantiles_hold_on_later_jobs_and_beat_one_number_for_all() {
        let all = past();
        let (mut below, mut own, mut plain, mut n) = ([0.0; 3], 0.0, 0.0, 0.0);
        for k in (0..300).step_by(5) {
            let (job, earlier) = (&all[k], &all[k + 1..]);
            let waits = queue_waits(
                earlier,
                &cluster(job.backlog.unwrap()),
                job.eligible,
                job.eligible,
            );
            let q = waits.of("h100", job.gpus).unwrap().quantiles_s;
            for (count, q) in below.iter_mut().zip(q) {
                *count += f64::from(u8::from(job.wait_s <= q));
            }
            let mut one: Vec<f64> = earlier.iter().map(|w| w.wait_s).collect();
            one.sort_by(f64::total_cmp);
            own += (q[1] / job.wait_s).ln().abs();
            plain += (one[one.len() / 2] / job.wait_s).ln().abs();
            n += 1.0;
        }
        let shares = below.map(|c| c / n);
        assert!(shares[0] < 0.3 && shares[2] > 0.75, "{shares:?}");
        assert!((shares[1] - 0.5).abs() < 0.2, "{shares:?}");
        assert!(own < 0.7 * plain, "{own} {plain}");
    }

    #[test]
    fn few_jobs_or_another_type_say_nothing() {
        let few: Vec<PastWait> = past().into_iter().take(5).collect();
        assert!(queue_waits(&few, &cluster(4), NOW, NOW).waits.is_empty());
        let mut other = past();
        other.iter_mut().for_each(|w| w.gres = "a100".into());
        assert!(queue_waits(&other, &cluster(4), NOW, NOW).waits.is_empty());
    }
}
