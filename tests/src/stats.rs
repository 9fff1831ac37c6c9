//! What a benchmark says of a column of times: median, spread, and how sure the median of differences is.

/// Resamples behind an interval.
const RESAMPLES: usize = 4000;

/// The middle half of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// A quarter of the numbers lies below.
    pub low: f64,
    /// Median.
    pub median: f64,
    /// A quarter of the numbers lies above.
    pub high: f64,
}

/// Median and quarters; `None` where there are no numbers.
///
/// ```
/// let spread = e2e::stats::spread(&[4.0, 1.0, 3.0, 2.0, 5.0]).unwrap();
/// assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
/// assert_eq!(e2e::stats::spread(&[]), None);
/// ```
pub fn spread(numbers: &[f64]) -> Option<Spread> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(Spread {
        low: quantile(&sorted, 0.25)?,
        median: quantile(&sorted, 0.5)?,
        high: quantile(&sorted, 0.75)?,
    })
}

/// The 95 % interval of the median by the percentile bootstrap: the same numbers always give the same interval.
///
/// ```
/// let numbers: Vec<f64> = (0..101).map(f64::from).collect();
/// let (low, high) = e2e::stats::interval_of_median(&numbers).unwrap();
/// assert!(30.0 < low && low < 50.0 && 50.0 < high && high < 70.0, "{low} {high}");
/// ```
pub fn interval_of_median(numbers: &[f64]) -> Option<(f64, f64)> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut medians = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let draw = |_: &f64| numbers[random.below(numbers.len())];
        let mut sample: Vec<f64> = numbers.iter().map(draw).collect();
        sample.sort_by(f64::total_cmp);
        medians.push(quantile(&sample, 0.5)?);
    }
    medians.sort_by(f64::total_cmp);
    Some((quantile(&medians, 0.025)?, quantile(&medians, 0.975)?))
}

/// A quantile of some numbers, linear between neighbours; not a number where there are none.
///
/// ```
/// assert_eq!(e2e::stats::quantile_of(&[3.0, 1.0, 2.0], 0.75), 2.5);
/// ```
pub fn quantile_of(numbers: &[f64], p: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, p).unwrap_or(f64::NAN)
}

/// The quantile of sorted numbers, linear between neighbours.
fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = p * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (at - below as f64) * (sorted[above] - sorted[below]))
}

/// Marsaglia's xorshift64: enough for drawing samples.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
