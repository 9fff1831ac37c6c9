//! How long a job will wait for GPUs, from how long jobs have waited.
//!
//! Weighted quantiles of past waits (kernel quantile regression after C. Stone, Annals of
//! Statistics 5, 1977): a past job counts the more, the nearer it is in GPUs asked for, in the hour
//! of the day, in the backlog that it met, and in time. Below an effective number of jobs nothing is
//! said.
//!
//! Everybody's waits move what everybody is told, so no user has more than a share: see `share`.

use std::collections::BTreeMap;

use crate::advisor::{ClusterState, QueueWait, QueueWaits};

/// Effective jobs below which a wait is not known.
const FEWEST: f64 = 12.0;
/// Half-life of a wait, s.
const HALF_LIFE_S: f64 = 10.0 * 86_400.0;
/// Octaves of GPUs, hours of the day and octaves of backlog over which a job's weight falls to e^-1/2.
const BANDWIDTHS: [f64; 3] = [0.6, 3.0, 1.0];
/// Quantiles that are told.
const LEVELS: [f64; 3] = [0.1, 0.5, 0.9];
/// Most weight of one user against that of all others together.
const MOST_OF_A_USER: f64 = 0.5;
/// Weight of one user that counts where the others say too little themselves, in jobs like the one that is asked for.
const ALONE: f64 = 16.0;
/// Share of all weight beyond which a user's waits are held against the others'.
const LARGE: f64 = 0.05;

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
    /// Whose job it was; `None` where not known.
    pub user: Option<u32>,
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

/// A wait with what it counts for one question.
struct Weighted {
    wait_s: f64,
    weight: f64,
    user: Option<u32>,
}

fn wait(past: &[&PastWait], gres: &str, gpus: u32, backlog: u32, now: i64) -> Option<QueueWait> {
    let mut weighted: Vec<Weighted> = past
        .iter()
        .map(|w| Weighted {
            wait_s: w.wait_s,
            weight: weight(w, gpus, backlog, now),
            user: w.user,
        })
        .filter(|w| w.weight > 1e-9)
        .collect();
    weighted.sort_by(|a, b| a.wait_s.total_cmp(&b.wait_s));
    share(&mut weighted);
    let all = Mass::of(weighted.iter());
    if all.effective() < FEWEST {
        return None;
    }
    let quantiles_s = LEVELS.map(|level| quantile(weighted.iter(), level * all.sum));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
    let jobs = all.effective().round() as u32;
    Some(QueueWait {
        gres: gres.to_owned(),
        gpus,
        quantiles_s,
        jobs,
    })
}

/// How much some waits count together.
#[derive(Clone, Copy, Default)]
struct Mass {
    sum: f64,
    squares: f64,
}

impl Mass {
    fn of<'a>(all: impl Iterator<Item = &'a Weighted>) -> Self {
        all.fold(Self::default(), |mass, w| mass.plus(w.weight))
    }

    fn plus(self, weight: f64) -> Self {
        Self {
            sum: self.sum + weight,
            squares: self.squares + weight * weight,
        }
    }

    fn without(self, part: Self) -> Self {
        Self {
            sum: (self.sum - part.sum).max(0.0),
            squares: (self.squares - part.squares).max(0.0),
        }
    }

    /// Jobs of equal weight that would say as much (L. Kish, Survey Sampling, 1965).
    fn effective(self) -> f64 {
        if self.squares > 0.0 {
            self.sum * self.sum / self.squares
        } else {
            0.0
        }
    }

    /// Whether these jobs say something without any other.
    fn speaks(self) -> bool {
        self.effective() >= FEWEST
    }
}

fn by_user(all: &[Weighted]) -> BTreeMap<u32, Mass> {
    let mut users: BTreeMap<u32, Mass> = BTreeMap::new();
    for w in all {
        if let Some(user) = w.user {
            let mass = users.entry(user).or_default();
            *mass = mass.plus(w.weight);
        }
    }
    users
}

/// Leaves no user more than a share of sorted waits: half the weight of all others, and no wait longer than nine tenths of the others' are.
/// Where the others say too little themselves, a user counts as a few jobs. Waits of which nobody knows whose they are stay as they are.
fn share(sorted: &mut [Weighted]) {
    let all = Mass::of(sorted.iter());
    let factors: BTreeMap<u32, f64> = by_user(sorted)
        .into_iter()
        .map(|(user, mass)| {
            let others = all.without(mass);
            let half = MOST_OF_A_USER * others.sum;
            let most = if others.speaks() {
                half
            } else {
                half.max(ALONE)
            };
            (user, (most / mass.sum).min(1.0))
        })
        .collect();
    for w in sorted.iter_mut() {
        let factor = w.user.and_then(|user| factors.get(&user));
        w.weight *= factor.copied().unwrap_or(1.0);
    }
    // From here on nobody's many jobs say what the others' are held against.
    let all = Mass::of(sorted.iter());
    let large = |(_, mass): &(u32, Mass)| mass.sum > LARGE * all.sum && all.without(*mass).speaks();
    let bounds: Vec<(u32, f64)> = by_user(sorted)
        .into_iter()
        .filter(large)
        .map(|(user, mass)| {
            let others = sorted.iter().filter(|w| w.user != Some(user));
            (user, quantile(others, 0.9 * all.without(mass).sum))
        })
        .collect();
    for w in sorted.iter_mut() {
        let bound = bounds.iter().find(|(user, _)| w.user == Some(*user));
        w.wait_s = bound.map_or(w.wait_s, |(_, most)| w.wait_s.min(*most));
    }
    sorted.sort_by(|a, b| a.wait_s.total_cmp(&b.wait_s));
}

/// The smallest wait up to which so much weight lies.
fn quantile<'a>(sorted: impl Iterator<Item = &'a Weighted>, wanted: f64) -> f64 {
    let (mut sum, mut last) = (0.0, 0.0);
    for w in sorted {
        sum += w.weight;
        last = w.wait_s;
        if sum + 1e-12 >= wanted {
            break;
        }
    }
    last
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
                    user: Some(1000 + (k % 7) as u32),
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

    /// Waits of five users who ask for one and the same, between none and some hours.
    fn of_five() -> Vec<PastWait> {
        (0..100)
            .map(|k| PastWait {
                gres: "h100".into(),
                gpus: 4,
                eligible: NOW - 3600 - k,
                wait_s: f64::from((k * 37 % 100) as u32).powi(2),
                backlog: Some(4),
                user: Some(1000 + (k % 5) as u32),
            })
            .collect()
    }

    fn quantiles(past: &[PastWait]) -> Option<[f64; 3]> {
        let waits = queue_waits(past, &cluster(4), NOW, NOW);
        waits.of("h100", 4).map(|w| w.quantiles_s)
    }

    /// The limit that SECURITY.md states: whatever one user's jobs waited, or are made to look as if they had.
    #[test]
    fn one_user_moves_the_waits_that_others_are_told_within_the_stated_limit() {
        let honest = of_five();
        let mut sorted: Vec<f64> = honest.iter().map(|w| w.wait_s).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |level: f64| sorted[(level * 100.0) as usize - 1];
        for (jobs, waits) in [
            (34, vec![1e6]),
            (400, vec![1e6]),
            (4000, vec![1e9]),
            (400, vec![0.0]),
            (4000, vec![0.0]),
            (400, vec![0.0, 1e6]),
            (12, vec![1e6]),
            (400, vec![at(0.9), 1e6]),
        ] {
            let mut past = honest.clone();
            past.extend((0..jobs).map(|k| PastWait {
                eligible: NOW - 1,
                wait_s: waits[k % waits.len()],
                user: Some(6666),
                ..honest[0].clone()
            }));
            let [low, middle, high] = quantiles(&past).unwrap();
            let told = format!("{jobs} x {waits:?}: {low} {middle} {high}");
            assert!(low <= at(0.2), "{told}");
            assert!((at(0.2)..=at(0.8)).contains(&middle), "{told}");
            assert!((at(0.75)..=at(0.95)).contains(&high), "{told}");
        }
    }

    #[test]
    fn a_user_alone_is_told_his_own_waits_and_a_second_one_does_not_take_them_away() {
        let mut past = of_five();
        past.iter_mut().for_each(|w| w.user = Some(1000));
        let alone = quantiles(&past).unwrap();
        past.push(PastWait {
            wait_s: 1e6,
            user: Some(2000),
            ..past[0].clone()
        });
        let told = quantiles(&past).unwrap();
        assert!(
            alone[1] <= told[1] && told[1] < 1.2 * alone[1],
            "{alone:?} {told:?}"
        );
        // Rows of before say not whose they are.
        past.iter_mut().for_each(|w| w.user = None);
        assert!(quantiles(&past).is_some());
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
