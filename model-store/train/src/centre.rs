//! The centre of one target: three learners and the shares at which held-out rows err least.

use super::calibrate::Held;
use super::learn::{Gaussian, Learner, Trees};
use super::local::{Locals, common_shares};
use crate::advisor::model::Shares;

/// The common process, the processes of single stacks, and the trees.
pub(super) struct Learners<'a> {
    pub(super) common: Gaussian<'a>,
    pub(super) locals: &'a Locals<'a>,
    pub(super) trees: Trees<'a>,
}

/// The learners with their shares, and what cross-validation showed of them.
pub(super) struct Centre<'a> {
    pub(super) learners: Learners<'a>,
    /// Shares where a stack has no process of its own.
    pub(super) shares: Shares,
    /// Shares of each stack that has one.
    pub(super) own_shares: Vec<Shares>,
    /// What remains of each row about a centre that never saw its fold.
    pub(super) remains: Vec<f64>,
    /// How far the trees and the stack's process then lay from the common process.
    pub(super) disputes: Vec<[f64; 2]>,
}

impl<'a> Centre<'a> {
    /// Chooses the shares by what each learner says of folds that it never saw.
    pub(super) fn choose(learners: Learners<'a>, held: &Held) -> Self {
        let common = held.out_of_fold(&learners.common);
        let local = held.out_of_fold(learners.locals);
        let trees = held.out_of_fold(&learners.trees);
        let locals = learners.locals;
        let shares = common_shares(&common, &trees);
        let own_shares = locals.shares([&common, &local, &trees]);
        let rows = 0..common.len();
        let remains = |i: usize| {
            let shares = locals.of(&own_shares, i, shares);
            shares.mix(common[i], local[i], trees[i])
        };
        let disputes = |i: usize| {
            let own = if locals.has(i) {
                local[i] - common[i]
            } else {
                0.0
            };
            [trees[i] - common[i], own]
        };
        Self {
            remains: rows.clone().map(remains).collect(),
            disputes: rows.map(disputes).collect(),
            learners,
            shares,
            own_shares,
        }
    }

    /// What remains of the rows of each campaign when all of it is left out, with its rows.
    pub(super) fn without_each_campaign(&self, held: &Held) -> Vec<(Vec<f64>, Vec<usize>)> {
        let campaigns = held.campaigns().into_iter();
        campaigns.map(|c| (self.remains_without(&c), c)).collect()
    }
}

impl Learner for Centre<'_> {
    fn remains_without(&self, held: &[usize]) -> Vec<f64> {
        let Learners {
            common,
            locals,
            trees,
        } = &self.learners;
        let common = common.remains_without(held);
        let local = locals.remains_without(held);
        let trees = trees.remains_without(held);
        // A stack of which too little is left would have no process, and so no shares of its own.
        let remaining = locals.remaining(held);
        let own = self.own_shares.iter().zip(&remaining);
        let own_shares: Vec<Shares> = own
            .map(|(s, r)| if *r { *s } else { self.shares })
            .collect();
        let one = |(k, i): (usize, &usize)| {
            let shares = locals.of(&own_shares, *i, self.shares);
            shares.mix(common[k], local[k], trees[k])
        };
        held.iter().enumerate().map(one).collect()
    }
}
