//! Gradient-boosted regression trees on binned features (J. Friedman, Annals of Statistics 29(5),
//! 2001; histograms and leaf-wise growth as in LightGBM, NIPS 2017). Written for this product
//! because the fit must be deterministic to the byte and its trees small enough to publish.

use super::bins::{BINS, Binned, parted};
use crate::advisor::features::FEATURES;
use crate::advisor::forest::{Forest, Node};
use crate::hashing::splitmix;

/// What a fit minimises.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// Squared error up to this residual, absolute error beyond: outliers pull with a bounded hand.
    Huber(f64),
    /// Pinball loss of this quantile.
    Quantile(f64),
}

/// How to grow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) loss: Loss,
    pub(super) trees: usize,
    pub(super) rate: f64,
    pub(super) leaves: usize,
    pub(super) least_in_leaf: f64,
    /// Pull of a leaf's value towards zero, in rows.
    pub(super) ridge: f64,
    /// Share of the features that one tree may use.
    pub(super) columns: f64,
}

/// Weighted gradients of some rows, and their weights.
#[derive(Clone, Copy, Default)]
struct Bin {
    gradient: f64,
    weight: f64,
}

/// The bins of every feature that a tree may use.
type Histogram = Vec<[Bin; BINS]>;

struct Leaf {
    node: usize,
    rows: Vec<u32>,
    histogram: Histogram,
    best: Option<Split>,
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    feature: usize,
    bin: usize,
}

/// One fit in progress.
struct Grower<'a> {
    data: &'a Binned,
    plan: Plan,
    residual: Vec<f64>,
    /// Each row as a bin of its own.
    pulls: Vec<Bin>,
    weight: &'a [f64],
    /// Features that the tree may use and in which rows differ, with their places in a row.
    columns: Vec<(usize, usize)>,
}

/// Fits a forest to `y` (weights `w`) on the rows whose indices are given.
pub(super) fn fit(data: &Binned, chosen: &[u32], y: &[f64], w: &[f64], plan: Plan) -> Forest {
    let base = start(chosen, y, w, plan.loss);
    let mut grower = Grower {
        data,
        plan,
        residual: y.iter().map(|v| v - base).collect(),
        pulls: vec![Bin::default(); y.len()],
        weight: w,
        columns: Vec::new(),
    };
    let mut forest = Forest {
        base: base as f32,
        ..Forest::default()
    };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..plan.trees {
        let drawn = draw(plan.columns, &mut random).into_iter();
        grower.columns = drawn.filter_map(|f| Some((f, data.place(f)?))).collect();
        if !grower.grow(chosen, &mut forest) {
            break;
        }
    }
    forest
}

fn start(chosen: &[u32], y: &[f64], w: &[f64], loss: Loss) -> f64 {
    let mut pairs: Vec<(f64, f64)> = chosen
        .iter()
        .map(|i| (y[*i as usize], w[*i as usize]))
        .collect();
    let level = match loss {
        Loss::Huber(_) => 0.5,
        Loss::Quantile(level) => level,
    };
    weighted_quantile(&mut pairs, level)
}

/// The smallest value below or at which a share `level` of the weight lies; 0 for none. Weights are
/// whole numbers, whose sums are the same in any order.
fn weighted_quantile(pairs: &mut [(f64, f64)], level: f64) -> f64 {
    let sum = |pairs: &[(f64, f64)]| pairs.iter().map(|p| p.1).sum::<f64>();
    let wanted = level * sum(pairs);
    let (mut rest, mut below) = (pairs, 0.0);
    while rest.len() > 1 {
        let half = rest.len() / 2;
        rest.select_nth_unstable_by(half, |a, b| a.0.total_cmp(&b.0));
        let lower = sum(&rest[..half]);
        if below + lower >= wanted {
            rest = &mut rest[..half];
        } else {
            below += lower;
            rest = &mut rest[half..];
        }
    }
    rest.first().map_or(0.0, |p| p.0)
}

/// Draws a share of the features without repetition; the sequence is fixed by the seed.
fn draw(share: f64, random: &mut u64) -> Vec<usize> {
    let wanted = ((FEATURES as f64 * share).ceil() as usize).clamp(1, FEATURES);
    let mut all: Vec<usize> = (0..FEATURES).collect();
    for i in 0..wanted {
        let j = i + (splitmix(random) % (FEATURES - i) as u64) as usize;
        all.swap(i, j);
    }
    all.truncate(wanted);
    all.sort_unstable();
    all
}

impl Grower<'_> {
    /// Adds one tree; false where nothing is left to split.
    fn grow(&mut self, chosen: &[u32], forest: &mut Forest) -> bool {
        self.point();
        let root = forest.nodes.len();
        forest.nodes.push(Node {
            feature: Node::LEAF,
            number: 0.0,
            left: 0,
        });
        let mut leaves = vec![self.leaf(root, chosen.to_vec(), None)];
        while leaves.len() < self.plan.leaves {
            let gain = |l: &Leaf| l.best.map_or(0.0, |s| s.gain);
            let Some(at) =
                (0..leaves.len()).max_by(|a, b| gain(&leaves[*a]).total_cmp(&gain(&leaves[*b])))
            else {
                break;
            };
            let Some(split) = leaves[at].best.filter(|s| s.gain > 1e-12) else {
                break;
            };
            let leaf = leaves.swap_remove(at);
            leaves.extend(self.split(leaf, split, forest));
        }
        if leaves.len() == 1 {
            forest.nodes.truncate(root);
            return false;
        }
        forest.roots.push(root as u32);
        for leaf in leaves {
            self.settle(&leaf, forest);
        }
        true
    }

    fn point(&mut self) {
        let rows = self.residual.iter().zip(self.weight);
        for (pull, (r, weight)) in self.pulls.iter_mut().zip(rows) {
            let gradient = match self.plan.loss {
                Loss::Huber(limit) => r.clamp(-limit, limit),
                Loss::Quantile(level) => level - f64::from(u8::from(*r < 0.0)),
            };
            *pull = Bin {
                gradient: gradient * weight,
                weight: *weight,
            };
        }
    }

    fn leaf(&self, node: usize, rows: Vec<u32>, histogram: Option<Histogram>) -> Leaf {
        let histogram = histogram.unwrap_or_else(|| self.histogram(&rows));
        let best = self.best(&histogram);
        Leaf {
            node,
            rows,
            histogram,
            best,
        }
    }

    fn histogram(&self, rows: &[u32]) -> Histogram {
        let mut out = vec![[Bin::default(); BINS]; self.columns.len()];
        for i in rows {
            let pull = self.pulls[*i as usize];
            let bins = self.data.row(*i as usize);
            for (held, (_, place)) in out.iter_mut().zip(&self.columns) {
                let bin = &mut held[usize::from(bins[*place]) % BINS];
                bin.gradient += pull.gradient;
                bin.weight += pull.weight;
            }
        }
        out
    }

    fn best(&self, histogram: &[[Bin; BINS]]) -> Option<Split> {
        let mut best: Option<Split> = None;
        for ((f, _), bins) in self.columns.iter().zip(histogram) {
            let (all_g, all_w) = bins
                .iter()
                .fold((0.0, 0.0), |(g, w), b| (g + b.gradient, w + b.weight));
            let score = |g: f64, w: f64| g * g / (w + self.plan.ridge);
            let (mut g, mut w) = (0.0, 0.0);
            for (bin, held) in bins.iter().take(self.data.cuts[*f].len()).enumerate() {
                g += held.gradient;
                w += held.weight;
                if w < self.plan.least_in_leaf || all_w - w < self.plan.least_in_leaf {
                    continue;
                }
                let gain = score(g, w) + score(all_g - g, all_w - w) - score(all_g, all_w);
                if best.is_none_or(|b| gain > b.gain) {
                    best = Some(Split {
                        gain,
                        feature: *f,
                        bin,
                    });
                }
            }
        }
        best
    }

    fn split(&self, leaf: Leaf, split: Split, forest: &mut Forest) -> [Leaf; 2] {
        let (left, right) = parted(&leaf.rows, &self.data.columns[split.feature], split.bin);
        let at = forest.nodes.len();
        forest.nodes[leaf.node] = Node {
            feature: split.feature as u8,
            number: self.data.cuts[split.feature][split.bin],
            left: at as u32,
        };
        let blank = Node {
            feature: Node::LEAF,
            number: 0.0,
            left: 0,
        };
        forest.nodes.extend([blank, blank]);
        // Only the smaller child is counted; the larger one is what remains of the parent.
        let small_is_left = left.len() <= right.len();
        let small = self.histogram(if small_is_left { &left } else { &right });
        let mut large = leaf.histogram;
        for (l, s) in large
            .as_flattened_mut()
            .iter_mut()
            .zip(small.as_flattened())
        {
            l.gradient -= s.gradient;
            l.weight -= s.weight;
        }
        let (hl, hr) = if small_is_left {
            (small, large)
        } else {
            (large, small)
        };
        [
            self.leaf(at, left, Some(hl)),
            self.leaf(at + 1, right, Some(hr)),
        ]
    }

    /// Gives a leaf its value and takes it off the residuals of its rows.
    fn settle(&mut self, leaf: &Leaf, forest: &mut Forest) {
        let value = match self.plan.loss {
            Loss::Huber(_) => {
                let sum = |of: fn(&Bin) -> f64| {
                    let rows = leaf.rows.iter().map(|i| of(&self.pulls[*i as usize]));
                    rows.sum::<f64>()
                };
                sum(|pull| pull.gradient) / (sum(|pull| pull.weight) + self.plan.ridge)
            }
            Loss::Quantile(level) => {
                let mut pairs: Vec<(f64, f64)> = leaf
                    .rows
                    .iter()
                    .map(|i| (self.residual[*i as usize], self.weight[*i as usize]))
                    .collect();
                weighted_quantile(&mut pairs, level)
            }
        };
        let step = (value * self.plan.rate) as f32;
        forest.nodes[leaf.node].number = step;
        for i in &leaf.rows {
            self.residual[*i as usize] -= f64::from(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisor::features::Row;

    const PLAN: Plan = Plan {
        loss: Loss::Huber(10.0),
        trees: 200,
        rate: 0.1,
        leaves: 8,
        least_in_leaf: 3.0,
        ridge: 0.0,
        columns: 1.0,
    };

    fn data(n: usize) -> (Vec<Row>, Vec<f64>) {
        let mut random = 7;
        let mut unit = || (splitmix(&mut random) >> 11) as f64 / (1u64 << 53) as f64;
        let rows: Vec<Row> = (0..n)
            .map(|_| {
                let mut row = [0.0; FEATURES];
                row[0] = unit() as f32;
                row[1] = unit() as f32;
                row[2] = unit() as f32;
                row
            })
            .collect();
        let y = rows
            .iter()
            .map(|r| f64::from((r[0] * 6.0).sin() + if r[1] > 0.5 { 2.0 } else { 0.0 }))
            .collect();
        (rows, y)
    }

    #[test]
    fn a_smooth_and_a_stepped_effect_are_learnt() {
        let (rows, y) = data(600);
        let chosen: Vec<u32> = (0..500).collect();
        let forest = fit(&Binned::new(&rows), &chosen, &y, &vec![1.0; y.len()], PLAN);
        assert!(forest.is_sound());
        let error = (500..600)
            .map(|i| (forest.value(&rows[i]) - y[i]).abs())
            .sum::<f64>()
            / 100.0;
        assert!(error < 0.15, "mean error {error}");
    }

    #[test]
    fn a_permuted_target_is_not_learnt() {
        let (rows, mut y) = data(600);
        let mut random = 3;
        for i in 0..500 {
            y.swap(i, i + (splitmix(&mut random) % (500 - i as u64)) as usize);
        }
        let chosen: Vec<u32> = (0..500).collect();
        let forest = fit(
            &Binned::new(&rows),
            &chosen,
            &y,
            &vec![1.0; y.len()],
            Plan {
                least_in_leaf: 25.0,
                ..PLAN
            },
        );
        let mean = y[..500].iter().sum::<f64>() / 500.0;
        let spread =
            |of: &dyn Fn(usize) -> f64| (500..600).map(|i| (of(i) - y[i]).powi(2)).sum::<f64>();
        assert!(spread(&|i| forest.value(&rows[i])) > 0.9 * spread(&|_| mean));
    }

    #[test]
    fn quantiles_hold_their_share() {
        let (rows, _) = data(2000);
        let mut random = 11;
        let y: Vec<f64> = rows
            .iter()
            .map(|r| f64::from(r[0]) * ((splitmix(&mut random) >> 11) as f64 / (1u64 << 53) as f64))
            .collect();
        let chosen: Vec<u32> = (0..1000).collect();
        let plan = Plan {
            loss: Loss::Quantile(0.9),
            trees: 60,
            least_in_leaf: 30.0,
            ..PLAN
        };
        let forest = fit(&Binned::new(&rows), &chosen, &y, &vec![1.0; y.len()], plan);
        let below = (1000..2000)
            .filter(|i| y[*i] <= forest.value(&rows[*i]))
            .count();
        assert!(
            (860..=940).contains(&below),
            "{below} of 1000 below the 0.9 quantile"
        );
    }
}
