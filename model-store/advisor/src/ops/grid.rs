//! A smooth function of a few numbers, kept at the corners of a grid and linear between them.

/// Most numbers that a grid depends on.
pub const MOST_AXES: usize = 4;

/// Steps in one unit of a value: a thousandth of a natural logarithm is a tenth of a per cent.
pub const STEPS: f64 = 1000.0;

/// Values at the corners of a grid, the last axis fastest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grid {
    axes: Vec<Vec<f32>>,
    values: Vec<i16>,
}

impl Grid {
    /// A grid of these nodes and values in [`STEPS`]; `None` where they do not fit together: at most
    /// [`MOST_AXES`] axes, each with two nodes or more that rise, and one value a corner.
    pub fn new(axes: Vec<Vec<f32>>, values: Vec<i16>) -> Option<Self> {
        let corners: usize = axes.iter().map(Vec::len).product();
        let rise = |axis: &Vec<f32>| {
            axis.len() >= 2
                && axis.iter().all(|x| x.is_finite())
                && axis.windows(2).all(|w| matches!(w, [a, b] if a < b))
        };
        let sound = (1..=MOST_AXES).contains(&axes.len())
            && axes.iter().all(rise)
            && values.len() == corners;
        sound.then_some(Self { axes, values })
    }

    /// The nodes of each axis.
    pub fn axes(&self) -> &[Vec<f32>] {
        &self.axes
    }

    /// The values at the corners, in [`STEPS`].
    pub fn values(&self) -> &[i16] {
        &self.values
    }

    /// The value at a place, multilinear between the corners; outside of the nodes that of the
    /// nearest edge. 0 for a place with another number of axes.
    pub fn at<const AXES: usize>(&self, place: [f64; AXES]) -> f64 {
        if self.axes.len() != AXES {
            return 0.0;
        }
        let mut low = [0usize; AXES];
        let mut share = [0.0f64; AXES];
        let mut strides = [1usize; AXES];
        let mut stride = 1;
        for (at, axis) in self.axes.iter().enumerate().rev() {
            let (Some(x), Some(low), Some(share), Some(own)) = (
                place.get(at),
                low.get_mut(at),
                share.get_mut(at),
                strides.get_mut(at),
            ) else {
                return 0.0;
            };
            (*low, *share) = between(axis, *x);
            *own = stride;
            stride *= axis.len();
        }
        let mut sum = 0.0;
        for corner in 0..1usize << AXES {
            let (mut index, mut weight) = (0, 1.0);
            for (at, ((low, share), stride)) in low.iter().zip(&share).zip(&strides).enumerate() {
                let upper = corner >> at & 1;
                index += (low + upper) * stride;
                weight *= if upper == 1 { *share } else { 1.0 - share };
            }
            sum += weight * f64::from(self.values.get(index).copied().unwrap_or(0));
        }
        sum / STEPS
    }
}

/// The node below a number, and how far it lies on the way to the next, from 0 to 1.
pub fn between(axis: &[f32], x: f64) -> (usize, f64) {
    let last = axis.len().saturating_sub(2);
    let low = axis
        .partition_point(|node| f64::from(*node) <= x)
        .saturating_sub(1)
        .min(last);
    match (axis.get(low), axis.get(low + 1)) {
        (Some(a), Some(b)) => {
            let (a, b) = (f64::from(*a), f64::from(*b));
            let share = (x - a) / (b - a);
            (
                low,
                if share.is_nan() {
                    0.0
                } else {
                    share.clamp(0.0, 1.0)
                },
            )
        }
        _ => (0, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plane() -> Grid {
        let axes = vec![vec![0.0, 1.0, 3.0], vec![-1.0, 1.0]];
        Grid::new(axes, vec![0, 100, 1000, 1100, 3000, 3100]).unwrap()
    }

    #[test]
    fn corners_that_do_not_fit_make_no_grid() {
        assert_eq!(Grid::new(vec![vec![0.0, 1.0]], vec![1]), None);
        assert_eq!(Grid::new(vec![vec![1.0, 0.0]], vec![1, 2]), None);
        assert_eq!(Grid::new(vec![], vec![]), None);
    }

    proptest! {
        #[test]
        fn a_plane_is_met_exactly_and_held_beyond_its_edges(x in -2.0..5.0f64, y in -3.0..3.0f64) {
            let wanted = x.clamp(0.0, 3.0) + 0.05 * (y.clamp(-1.0, 1.0) + 1.0);
            prop_assert!((plane().at([x, y]) - wanted).abs() < 1e-9);
        }

        #[test]
        fn no_number_breaks_it(x in any::<f64>(), y in any::<f64>()) {
            prop_assert!(plane().at([x, y]).is_finite());
        }
    }
}
