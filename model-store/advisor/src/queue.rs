//! How long a job waits for GPUs before it starts, as the site's accounting has shown it.

use serde::{Deserialize, Serialize};

/// Queue waits by GPU type and count, as they were last reckoned from accounting.
///
/// They are an input of the ranking alone. What is absent here is not known: the term is then left
/// out of the ranking and the advice says so; nothing is ever taken to start at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueWaits {
    /// Unix seconds up to which accounting was read; their age counts from here.
    pub as_of: i64,
    /// One entry a GPU type and count that enough jobs asked for, in any order.
    pub waits: Vec<QueueWait>,
}

/// How long jobs waited that asked for so many GPUs of one type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueWait {
    /// Slurm GPU type (gres), lower case.
    pub gres: String,
    /// GPUs that such a job asks for in all, over its nodes.
    pub gpus: u32,
    /// Seconds from being eligible to start: quantiles 0.1, 0.5 and 0.9, not falling.
    pub quantiles_s: [f64; 3],
    /// Jobs that they rest on.
    pub jobs: u32,
}

impl QueueWaits {
    /// Older than this, seconds, they say nothing of the queue of today.
    pub const LONGEST_AGE_S: i64 = 24 * 3600;

    /// Seconds since they were reckoned; 0 where the clock runs behind.
    pub const fn age_s(&self, now: i64) -> i64 {
        let age = now.saturating_sub(self.as_of);
        if age > 0 { age } else { 0 }
    }

    /// True where they are too old to be used.
    pub const fn is_too_old(&self, now: i64) -> bool {
        self.age_s(now) > Self::LONGEST_AGE_S
    }

    /// These waits where of each type only a part of the GPUs (0 to 1) can run jobs now: the jobs that
    /// waited for all of them wait for that part, so as many times as long. Little's law with the
    /// same jobs in the queue and a lower rate at which they are started. `None`, and a type of which
    /// nothing can run jobs, change nothing: such a type is not offered.
    pub fn on_part(mut self, part: impl Fn(&str) -> Option<f64>) -> Self {
        for wait in &mut self.waits {
            let part = part(&wait.gres).filter(|p| 0.0 < *p && *p < 1.0);
            wait.quantiles_s = wait.quantiles_s.map(|s| s / part.unwrap_or(1.0));
        }
        self
    }

    /// The wait for `gpus` GPUs of a type: the entry of that count, else of the next larger one,
    /// since who needs fewer is seldom served later. `None` = not known.
    pub fn of(&self, gres: &str, gpus: u32) -> Option<&QueueWait> {
        self.waits
            .iter()
            .filter(|w| w.gpus >= gpus && w.gres.eq_ignore_ascii_case(gres) && w.is_sound())
            .min_by_key(|w| w.gpus)
    }
}

impl QueueWait {
    /// Mean wait, s, from the three quantiles by Swanson's rule, 0.3, 0.4 and 0.3 (A. Hurst,
    /// G. Brown and R. Swanson, AAPG Bulletin 84, 2000): close for skew distributions.
    pub fn mean_s(&self) -> f64 {
        let [q10, q50, q90] = self.quantiles_s;
        0.3 * q10 + 0.4 * q50 + 0.3 * q90
    }

    /// True where the quantiles are times that do not fall.
    pub fn is_sound(&self) -> bool {
        let [q10, q50, q90] = self.quantiles_s;
        0.0 <= q10 && q10 <= q50 && q50 <= q90 && q90.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(gres: &str, gpus: u32, median: f64) -> QueueWait {
        QueueWait {
            gres: gres.into(),
            gpus,
            quantiles_s: [median / 10.0, median, median * 4.0],
            jobs: 40,
        }
    }

    #[test]
    fn a_count_without_jobs_takes_the_next_larger_one_and_never_a_smaller() {
        let waits = QueueWaits {
            as_of: 0,
            waits: vec![wait("h100", 8, 9000.0), wait("h100", 2, 60.0)],
        };
        let median = |gpus| waits.of("H100", gpus).map(|w| w.quantiles_s[1]);
        assert_eq!(
            [1, 2, 4, 8, 16].map(median),
            [Some(60.0), Some(60.0), Some(9000.0), Some(9000.0), None]
        );
        assert!(waits.of("a100", 1).is_none());
    }

    #[test]
    fn half_of_the_gpus_make_the_wait_twice_as_long() {
        let waits = QueueWaits {
            as_of: 0,
            waits: vec![wait("h100", 1, 60.0), wait("a100", 1, 60.0)],
        };
        let part = |gres: &str| (gres == "h100").then_some(0.5);
        let shorter = waits.clone().on_part(part);
        let median = |gres| shorter.of(gres, 1).map(|w| w.quantiles_s[1]);
        assert_eq!([median("h100"), median("a100")], [Some(120.0), Some(60.0)]);
        assert_eq!(waits.clone().on_part(|_| Some(0.0)), waits);
    }

    #[test]
    fn quantiles_that_fall_are_not_known() {
        let mut wrong = wait("h100", 1, 60.0);
        wrong.quantiles_s[2] = 1.0;
        let waits = QueueWaits {
            as_of: 0,
            waits: vec![wrong],
        };
        assert!(waits.of("h100", 1).is_none());
    }

    #[test]
    fn a_day_later_they_are_too_old_and_a_slow_clock_does_no_harm() {
        let waits = QueueWaits {
            as_of: 1000,
            waits: Vec::new(),
        };
        assert!(!waits.is_too_old(1000 + QueueWaits::LONGEST_AGE_S));
        assert!(waits.is_too_old(1001 + QueueWaits::LONGEST_AGE_S));
        assert_eq!(waits.age_s(10), 0);
    }
}
