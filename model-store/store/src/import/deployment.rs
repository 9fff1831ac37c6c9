//! How many GPUs a deployment has, role by role.
//!
//! An engine has TP x PP x DP GPUs; where its data-parallel ranks share the GPUs of the TP group (attention alone is
//! data-parallel), TP x PP. A role has replicas of one engine. Prefill and decode are counted apart and added up.

use super::Reading;

/// Most GPUs of one deployment; beyond it a count is a mistake.
const MOST_GPUS: u64 = 65_536;

/// What an engine does of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    /// All of it.
    #[default]
    Whole,
    /// The prompt alone.
    Prefill,
    /// The answer alone.
    Decode,
}

impl Role {
    /// Reads the words that reports use; `None` for another one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "prefill" => Self::Prefill,
            "decode" => Self::Decode,
            "replica" | "aggregate" | "aggregated" | "agg" | "both" | "standalone" => Self::Whole,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Whole => "engine",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

/// Engines that are alike. `None` = the file does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Engines {
    pub(super) role: Role,
    pub(super) tp: Option<u32>,
    pub(super) pp: Option<u32>,
    pub(super) dp: Option<u32>,
    /// Data-parallel ranks share the GPUs of the TP group.
    pub(super) dp_shares_gpus: bool,
    /// How many engines of this kind there are.
    pub(super) replicas: u32,
    /// GPUs of one engine as the file counts them.
    pub(super) gpus: Option<u32>,
    /// Name of the GPU; empty where it is not told here.
    pub(super) gpu: String,
}

impl Engines {
    fn replicas(&self) -> u32 {
        self.replicas.max(1)
    }

    /// Degrees of one engine: TP, PP and the DP that needs GPUs of its own.
    ///
    /// # Errors
    /// The degrees and the count contradict each other, in numbers.
    fn degrees(&self) -> Result<Option<[u32; 3]>, String> {
        let Some(tp) = self.tp else {
            return Ok(None);
        };
        let pp = self.pp.unwrap_or(1);
        let dp = match (self.dp, self.gpus) {
            _ if self.dp_shares_gpus => 1,
            (Some(dp), _) => dp,
            // The count tells what the file leaves out.
            (None, Some(gpus)) if gpus > tp * pp && gpus.is_multiple_of(tp * pp) => {
                gpus / (tp * pp)
            }
            (None, _) => 1,
        };
        let all = u64::from(tp) * u64::from(pp) * u64::from(dp);
        let counted = self.gpus.map(u64::from);
        let fits = |n: u64| n == all || n == all * u64::from(self.replicas());
        if counted.is_some_and(|n| !fits(n)) {
            return Err(format!(
                "its count of {} GPUs is not TP {tp} x PP {pp} x DP {dp}: `--tp` and `--dp` state what ran",
                counted.unwrap_or(0)
            ));
        }
        Ok(Some([tp, pp, dp]))
    }

    /// GPUs of all engines of this kind; `None` where they cannot be told.
    fn all_gpus(&self) -> Result<Option<u64>, String> {
        let each = match self.degrees()? {
            Some(degrees) => Some(degrees.into_iter().map(u64::from).product()),
            None => self.gpus.map(u64::from),
        };
        let all = each.map(|each: u64| each * u64::from(self.replicas()));
        match all {
            Some(n) if n > MOST_GPUS => Err(format!("it counts {n} GPUs")),
            _ => Ok(all),
        }
    }

    /// In words, for the notes.
    fn words(&self) -> String {
        let degree = |name: &str, n: Option<u32>| n.map(|n| format!(" {name}{n}"));
        let degrees = [("tp", self.tp), ("pp", self.pp), ("dp", self.dp)];
        let text: String = degrees
            .iter()
            .filter_map(|(name, n)| degree(name, *n))
            .collect();
        format!(
            "{}={}x{}",
            self.role.name(),
            self.replicas(),
            text.trim_start()
        )
    }
}

/// A deployment as a case tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Deployment {
    tp: Option<u32>,
    pp: Option<u32>,
    dp: Option<u32>,
    disaggregated: bool,
    gpu: String,
    notes: Vec<String>,
}

impl Deployment {
    /// Counts the engines.
    ///
    /// # Errors
    /// Why no one configuration can be told: engines that differ, several GPU types, contradicting counts.
    pub(super) fn of(parts: &[Engines]) -> Result<Self, String> {
        let mut gpus: Vec<&str> = parts
            .iter()
            .map(|p| p.gpu.as_str())
            .filter(|g| !g.is_empty())
            .collect();
        gpus.sort_unstable();
        gpus.dedup();
        if gpus.len() > 1 {
            return Err(format!("it mixes GPUs: {}", gpus.join(", ")));
        }
        let gpu = gpus.first().copied().unwrap_or_default().to_owned();
        if parts.iter().any(|p| p.role != Role::Whole) {
            return Self::apart(parts, gpu);
        }
        let Some(first) = parts.first() else {
            return Ok(Self::default());
        };
        let degrees = first.degrees()?;
        let mut dp = 0;
        for part in parts {
            let own = part.degrees()?;
            part.all_gpus()?;
            let alike = |d: Option<[u32; 3]>| d.map(|[tp, pp, _]| [tp, pp]);
            if alike(own) != alike(degrees) {
                return Err(format!(
                    "its engines differ ({} and {}), so no one configuration can be told",
                    first.words(),
                    part.words()
                ));
            }
            dp += own.map_or(1, |[.., dp]| dp) * part.replicas();
        }
        let shared = first.dp.filter(|n| first.dp_shares_gpus && *n > 1);
        Ok(Self {
            tp: degrees.map(|[tp, ..]| tp),
            pp: degrees.map(|[_, pp, _]| pp),
            dp: Some(dp),
            disaggregated: false,
            gpu,
            notes: shared
                .map(|n| format!("dp_attention={n}"))
                .into_iter()
                .collect(),
        })
    }

    /// Prefill and decode apart: the degrees are those of decode where they divide the GPUs, else 1, and the
    /// product is all GPUs.
    fn apart(parts: &[Engines], gpu: String) -> Result<Self, String> {
        let mut all = Some(0);
        for part in parts {
            all = all.zip(part.all_gpus()?).map(|(all, own)| all + own);
        }
        let lead = parts
            .iter()
            .find(|p| p.role == Role::Decode)
            .or(parts.first());
        let lead = lead.map_or(Ok(None), Engines::degrees)?;
        let total = all
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| u64::from(*n) <= MOST_GPUS);
        let [tp, pp, dp] = match (total, lead) {
            (Some(n), Some([tp, pp, _])) if n.is_multiple_of(tp * pp) => {
                [Some(tp), Some(pp), Some(n / (tp * pp))]
            }
            (Some(n), _) => [Some(1), Some(1), Some(n)],
            (None, _) => [None; 3],
        };
        Ok(Self {
            tp,
            pp,
            dp,
            disaggregated: true,
            gpu,
            notes: parts.iter().map(Engines::words).collect(),
        })
    }

    /// All its GPUs; `None` where they cannot be told.
    pub(super) fn gpus(&self) -> Option<u32> {
        Some(self.tp? * self.pp.unwrap_or(1) * self.dp.unwrap_or(1))
    }
}

impl Reading {
    /// The same of this deployment.
    pub(super) fn deployed(mut self, deployment: Deployment) -> Self {
        let Deployment {
            tp,
            pp,
            dp,
            disaggregated,
            gpu,
            notes,
        } = deployment;
        (self.tp, self.pp, self.dp) = (tp, pp, dp);
        self.variant.disaggregated |= disaggregated;
        if !gpu.is_empty() {
            self.gpu = gpu;
        }
        self.notes.splice(0..0, notes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn engines(role: Role, tp: u32, replicas: u32) -> Engines {
        Engines {
            role,
            tp: Some(tp),
            replicas,
            ..Engines::default()
        }
    }

    fn told(parts: &[Engines]) -> (Option<u32>, Option<u32>, Option<u32>, bool) {
        let d = Deployment::of(parts).unwrap();
        (d.tp, d.dp, d.gpus(), d.disaggregated)
    }

    #[test]
    fn replicas_multiply_and_shared_ranks_do_not() {
        assert_eq!(
            told(&[engines(Role::Whole, 2, 4)]),
            (Some(2), Some(4), Some(8), false)
        );
        let four = vec![engines(Role::Whole, 2, 1); 4];
        assert_eq!(told(&four), (Some(2), Some(4), Some(8), false));
        let attention = Engines {
            dp: Some(8),
            dp_shares_gpus: true,
            ..engines(Role::Whole, 8, 1)
        };
        assert_eq!(told(&[attention]), (Some(8), Some(1), Some(8), false));
        let ranks = Engines {
            dp: Some(8),
            ..engines(Role::Whole, 2, 1)
        };
        assert_eq!(told(&[ranks]), (Some(2), Some(8), Some(16), false));
    }

    #[test]
    fn roles_add_up() {
        let case = [engines(Role::Prefill, 1, 4), engines(Role::Decode, 4, 1)];
        assert_eq!(told(&case), (Some(4), Some(2), Some(8), true));
        let odd = [engines(Role::Prefill, 1, 1), engines(Role::Decode, 8, 2)];
        assert_eq!(told(&odd), (Some(1), Some(17), Some(17), true));
    }

    #[test]
    fn what_cannot_be_one_configuration_is_refused() {
        let differ = [engines(Role::Whole, 2, 1), engines(Role::Whole, 4, 1)];
        assert!(Deployment::of(&differ).unwrap_err().contains("differ"));
        let count = Engines {
            gpus: Some(6),
            ..engines(Role::Whole, 4, 1)
        };
        assert!(Deployment::of(&[count]).unwrap_err().contains("6 GPUs"));
        let on = |gpu: &str| Engines {
            gpu: gpu.into(),
            ..engines(Role::Whole, 1, 1)
        };
        assert!(
            Deployment::of(&[on("H100"), on("H200")])
                .unwrap_err()
                .contains("mixes")
        );
        assert_eq!(Deployment::of(&[Engines::default()]).unwrap().gpus(), None);
    }

    proptest! {
        /// However the engines are told, the GPUs are their sum or unknown.
        #[test]
        fn gpus_are_the_sum_or_unknown(parts in prop::collection::vec((0..3usize, 1..16u32, 1..4u32, 1..4u32, 1..5u32), 1..4)) {
            let roles = [Role::Whole, Role::Prefill, Role::Decode];
            let parts: Vec<Engines> = parts.into_iter().map(|(role, tp, pp, dp, replicas)| Engines {
                role: roles[role], tp: Some(tp), pp: Some(pp), dp: Some(dp), replicas, ..Engines::default()
            }).collect();
            let sum: u32 = parts.iter().map(|p| p.tp.unwrap() * p.pp.unwrap() * p.dp.unwrap() * p.replicas).sum();
            if let Ok(deployment) = Deployment::of(&parts) {
                prop_assert_eq!(deployment.gpus(), Some(sum));
            }
        }
    }
}
