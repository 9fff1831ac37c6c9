//! Evaluation of boosted trees. Fitting lives in the training module; this is all that the plugin
//! needs of them.

use serde::{Deserialize, Serialize};

use super::features::Row;

/// One node. A leaf has `feature == LEAF` and carries its value in `number`; elsewhere `number`
/// is the threshold: `row[feature] <= number` goes to `left`, the rest to `left + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Feature index, or [`Node::LEAF`].
    pub feature: u8,
    /// Threshold or leaf value.
    pub number: f32,
    /// Index of the left child in the forest.
    pub left: u32,
}

impl Node {
    /// Marks a leaf.
    pub const LEAF: u8 = u8::MAX;
}

/// Trees that are walked side by side.
const TOGETHER: usize = 8;

/// Most steps of a walk.
const DEEPEST: usize = 64;

/// A sum of trees over a constant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    /// Constant term.
    pub base: f32,
    /// Index of each tree's root.
    pub roots: Vec<u32>,
    /// Nodes of all trees; children lie behind their parent.
    pub nodes: Vec<Node>,
}

impl Forest {
    /// The forest's value for one row.
    pub fn value(&self, row: &Row) -> f64 {
        let leaves = |roots: &[u32]| self.leaves(roots, row);
        let sum: f64 = self.roots.chunks(TOGETHER).map(leaves).sum();
        f64::from(self.base) + sum
    }

    /// Sum of the leaves of a few trees, walked side by side: each step waits for memory, and so
    /// they wait together.
    fn leaves(&self, roots: &[u32], row: &Row) -> f64 {
        let mut at = [0u32; TOGETHER];
        let mut numbers = [0.0f32; TOGETHER];
        for (at, root) in at.iter_mut().zip(roots) {
            *at = *root;
        }
        // A file can be made to loop; a forest that was checked cannot.
        for _ in 0..DEEPEST {
            let mut moved = false;
            for (at, number) in at.iter_mut().zip(&mut numbers).take(roots.len()) {
                let Some(node) = self.nodes.get(*at as usize) else {
                    continue;
                };
                *number = node.number;
                if let Some(x) = row.get(usize::from(node.feature)) {
                    *at = node.left + u32::from(*x > node.number);
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        numbers.iter().map(|n| f64::from(*n)).sum()
    }

    /// True where every walk ends: children lie behind their parent and inside the forest, and
    /// every number is finite.
    pub fn is_sound(&self) -> bool {
        let len = self.nodes.len() as u64;
        let sound = |(i, n): (usize, &Node)| {
            let inner = n.feature != Node::LEAF;
            let placed = u64::from(n.left) > i as u64 && u64::from(n.left) + 1 < len;
            n.number.is_finite() && (!inner || placed)
        };
        self.base.is_finite()
            && self.roots.iter().all(|r| u64::from(*r) < len)
            && self.nodes.iter().enumerate().all(sound)
    }
}
