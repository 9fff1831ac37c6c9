//! Evaluation of boosted trees. Fitting lives in the training module; this is all that the plugin
//! needs of them.

use serde::{Deserialize, Serialize};

use super::features::Row;
use super::packed;

/// One node. A leaf has `feature == LEAF` and carries its value in `number`; elsewhere `number`
/// is the threshold: `row[feature] <= number` goes to `left`, the rest to `left + 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    #[serde(with = "table")]
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

/// Nodes as one table of bytes: feature, steps to the left child (0 for a leaf), number.
mod table {
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    use super::{Node, packed};

    /// Bytes of a node.
    const BYTES: usize = 7;

    pub(super) fn serialize<S: Serializer>(nodes: &[Node], to: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(nodes.len() * BYTES);
        for (at, node) in (0u32..).zip(nodes) {
            let inner = node.feature != Node::LEAF;
            // Trees are small: their children are never 65,536 nodes away.
            let steps = node.left.saturating_sub(at).min(u16::MAX.into()) as u16;
            bytes.push(node.feature);
            bytes.extend(if inner { steps } else { 0 }.to_le_bytes());
            bytes.extend(node.number.to_le_bytes());
        }
        to.serialize_bytes(&bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Node>, D::Error> {
        let bytes = packed::bytes(from)?;
        if bytes.len() % BYTES != 0 {
            return Err(D::Error::custom("a node cut short"));
        }
        let node = |(at, b): (u32, &[u8; BYTES])| {
            let [feature, low, high, number @ ..] = *b;
            let steps = u32::from(u16::from_le_bytes([low, high]));
            Node {
                feature,
                number: f32::from_le_bytes(number),
                left: if feature == Node::LEAF { 0 } else { at + steps },
            }
        };
        let (nodes, _) = bytes.as_chunks::<BYTES>();
        Ok((0u32..).zip(nodes).map(node).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nodes_come_back_as_they_were(
            told in prop::collection::vec((any::<u8>(), 1u32..200, -9.0f32..9.0), 0..60),
        ) {
            let nodes: Vec<Node> = (0u32..)
                .zip(told)
                .map(|(at, (feature, steps, number))| {
                    let left = if feature == Node::LEAF { 0 } else { at + steps };
                    Node { feature, number, left }
                })
                .collect();
            let forest = Forest { base: 1.0, roots: vec![0], nodes };
            let bytes = postcard::to_allocvec(&forest).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Forest>(&bytes).unwrap(), forest);
        }
    }
}
