//! What a site says of GPU types and counts that Slurm does not tell: a `[[limit]]` entry of the
//! configuration. Pure.

use serde::Deserialize;

use crate::policy::Names;

/// One entry. A name that it does not give fits every job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitEntry {
    /// Partitions.
    pub partition: Names,
    /// Accounts.
    pub account: Names,
    /// QOS.
    pub qos: Names,
    /// Groups of users, as `id -Gn` names them.
    pub group: Names,
    /// GPU types that these jobs may have; any, where none is named.
    pub types: Names,
    /// Most GPUs that one of these jobs may have in all.
    pub most_gpus: Option<u64>,
}

impl LimitEntry {
    /// # Errors
    /// An entry that limits nothing, or allows nothing.
    pub(crate) fn is_sound(&self) -> Result<(), String> {
        match (&self.types, self.most_gpus) {
            (Names::Any, None) => Err(
                "[[limit]] without types and most_gpus limits nothing; `types = [\"a100\"]` or `most_gpus = 4` does".into(),
            ),
            (_, Some(0)) => Err("most_gpus of [[limit]] is 0, so that no job would have a GPU; `[[policy]]` with `mode = \"off\"` leaves jobs alone".into()),
            _ => Ok(()),
        }
    }

    /// True where it is about groups of users.
    pub fn names_groups(&self) -> bool {
        self.group != Names::Any
    }

    /// # Errors
    /// What the entry allows, and what is more.
    pub(crate) fn check(&self, gpu: &str, gpus: u64) -> Result<(), String> {
        let types = self.types.all();
        if !types.is_empty() && !types.iter().any(|t| t.eq_ignore_ascii_case(gpu)) {
            return Err(format!(
                "[[limit]] of the configuration allows {} here",
                types.join(", ")
            ));
        }
        match self.most_gpus {
            Some(most) if gpus > most => Err(format!(
                "[[limit]] of the configuration allows {most} GPUs at most, this takes {gpus}"
            )),
            _ => Ok(()),
        }
    }
}
