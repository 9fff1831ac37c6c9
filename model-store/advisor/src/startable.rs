//! What a cluster lets a job be started on, as far as the advisor asks.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::advice::{Assessed, Fallen};

/// Says of a configuration whether a job could be started on it in principle.
pub trait Startable: Debug {
    /// Why a job with so many GPUs of a type on each of so many nodes could not; `None` = it could.
    fn bar(&self, gres: &str, per_node: u32, nodes: u32) -> Option<String>;
}

/// The configurations of an advice that could not be started: enough to make it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bars(BTreeMap<(String, u32, u32), String>);

impl Bars {
    /// Those among the candidates of an advice.
    pub fn of(candidates: &[Assessed]) -> Self {
        let one = |a: &Assessed| match &a.fallen {
            Some(Fallen::NotStartable(reason)) => {
                let c = &a.config;
                Some((
                    (c.gres.clone(), c.gpus_per_node(), c.nodes()),
                    reason.clone(),
                ))
            }
            _ => None,
        };
        Self(candidates.iter().filter_map(one).collect())
    }

    /// Those that are listed: type, GPUs on a node, nodes, and why not.
    pub fn listed(all: impl IntoIterator<Item = (String, u32, u32, String)>) -> Self {
        let one = |(gres, per_node, nodes, reason)| ((gres, per_node, nodes), reason);
        Self(all.into_iter().map(one).collect())
    }

    /// As they count in an advice's id; empty for none. The reasons do not: they tell of the moment.
    pub fn text(&self) -> String {
        let one =
            |(gres, per_node, nodes): &(String, u32, u32)| format!("{gres}:{per_node}x{nodes};");
        self.0.keys().map(one).collect()
    }
}

impl Startable for Bars {
    fn bar(&self, gres: &str, per_node: u32, nodes: u32) -> Option<String> {
        self.0.get(&(gres.to_owned(), per_node, nodes)).cloned()
    }
}
