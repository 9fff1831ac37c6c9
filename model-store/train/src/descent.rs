//! Minimising a smooth function within bounds: limited-memory BFGS (J. Nocedal, S. Wright,
//! Numerical Optimization, 2006, chapter 7), projected onto the bounds, with a backtracking line.

/// Remembered steps.
const MEMORY: usize = 10;

/// Minimises `loss` (value and gradient; `None` where it has none) from `start`, in at most
/// `evaluations` of it.
pub(super) fn minimise<const N: usize>(
    start: [f64; N],
    evaluations: usize,
    loss: impl Fn(&[f64; N]) -> Option<(f64, [f64; N])>,
    bounds: fn(usize) -> (f64, f64),
) -> [f64; N] {
    let Some((mut value, mut gradient)) = loss(&start) else {
        return start;
    };
    let mut at = start;
    let mut history: Vec<([f64; N], [f64; N])> = Vec::new();
    let mut spent = 1;
    while spent < evaluations {
        let direction = direction(&gradient, &history);
        let mut length = if history.is_empty() {
            1.0 / norm(&gradient).max(1.0)
        } else {
            1.0
        };
        let taken = loop {
            if spent >= evaluations || length < 1e-6 {
                break None;
            }
            let next = std::array::from_fn(|i| {
                (at[i] - length * direction[i]).clamp(bounds(i).0, bounds(i).1)
            });
            spent += 1;
            let expected: f64 = (0..N).map(|i| gradient[i] * (next[i] - at[i])).sum();
            match loss(&next) {
                Some((v, g)) if v <= value + 1e-4 * expected => break Some((next, v, g)),
                _ => length *= 0.4,
            }
        };
        let Some((next, v, g)) = taken else {
            if history.is_empty() {
                break;
            }
            history.clear();
            continue;
        };
        let step: [f64; N] = std::array::from_fn(|i| next[i] - at[i]);
        let change: [f64; N] = std::array::from_fn(|i| g[i] - gradient[i]);
        if dot(&step, &change) > 1e-10 {
            history.push((step, change));
            if history.len() > MEMORY {
                history.remove(0);
            }
        }
        let gain = value - v;
        (at, value, gradient) = (next, v, g);
        if gain < 1e-7 * value.abs().max(1.0) {
            break;
        }
    }
    at
}

/// The two-loop recursion.
fn direction<const N: usize>(gradient: &[f64; N], history: &[([f64; N], [f64; N])]) -> [f64; N] {
    let mut q = *gradient;
    let mut shares = Vec::with_capacity(history.len());
    for (step, change) in history.iter().rev() {
        let share = dot(step, &q) / dot(step, change);
        add(&mut q, change, -share);
        shares.push(share);
    }
    if let Some((step, change)) = history.last() {
        let scale = dot(step, change) / dot(change, change);
        q.iter_mut().for_each(|x| *x *= scale);
    }
    for ((step, change), share) in history.iter().zip(shares.iter().rev()) {
        let back = dot(change, &q) / dot(step, change);
        add(&mut q, step, share - back);
    }
    q
}

fn add<const N: usize>(to: &mut [f64; N], what: &[f64; N], times: f64) {
    to.iter_mut().zip(what).for_each(|(a, b)| *a += times * b);
}

fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm<const N: usize>(a: &[f64; N]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_valley_is_followed_to_its_end() {
        let rosenbrock = |p: &[f64; 2]| {
            let [x, y] = *p;
            let value = (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
            Some((
                value,
                [
                    -2.0 * (1.0 - x) - 400.0 * x * (y - x * x),
                    200.0 * (y - x * x),
                ],
            ))
        };
        let found = minimise([-1.2, 1.0], 500, rosenbrock, |_| (-5.0, 5.0));
        assert!((found[0] - 1.0).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn bounds_hold() {
        let found = minimise([0.5], 50, |p| Some((p[0], [1.0])), |_| (-1.0, 1.0));
        assert_eq!(found, [-1.0]);
    }
}
