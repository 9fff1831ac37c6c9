//! What GPU types cost: as the site configures it, else as Slurm's billing weights state it, else at
//! public prices. Pure.

use serde::{Deserialize, Serialize};

use crate::advisor::SiteGpu;
use crate::policy::Names;
use crate::slurm_view::Partition;

/// Where the prices of a snapshot come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PriceSource {
    /// Nobody states any: every GPU counts as one.
    #[default]
    Nobody,
    /// The configuration.
    Configured,
    /// `TRESBillingWeights` of the default partition.
    Slurm,
    /// [`PUBLIC`].
    Public,
}

/// Public prices of one GPU for an hour, US dollars, interruptible, of one provider (RunPod, by
/// deploybase.ai/articles/runpod-gpu-pricing, 10 March 2026). They are read as relative to each
/// other alone. A type of which that page has no price has none here.
pub const PUBLIC: [(&str, f64); 6] = [
    ("A100-80GB", 1.39),
    ("H100-SXM", 2.69),
    ("H200", 3.59),
    ("B200", 5.98),
    ("L40S", 0.79),
    ("RTX4090", 0.34),
];

/// The public price of a GPU of the catalogue.
pub fn public(gpu: &str) -> Option<f64> {
    let found = PUBLIC.iter().find(|(name, _)| *name == gpu);
    found.map(|(_, price)| *price)
}

/// What an hour of one GPU of a type costs in a partition by its billing weights: those of GPUs and
/// of the type, which Slurm adds up. `None` where it states none.
pub fn billed(partition: &Partition, gres: &str) -> Option<f64> {
    let of_type = format!("gres/gpu:{gres}");
    let counts = |name: &str| name == "gres/gpu" || name.eq_ignore_ascii_case(&of_type);
    let weights = partition.billing.iter().filter(|(name, _)| counts(name));
    let sum: f64 = weights.map(|(_, weight)| weight).sum();
    (sum.is_finite() && sum > 0.0).then_some(sum)
}

/// A price by partition, account or QOS: a `[[price]]` entry of the configuration. A name that it does
/// not give fits every job.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceEntry {
    /// Partitions.
    #[serde(default)]
    pub partition: Names,
    /// Accounts.
    #[serde(default)]
    pub account: Names,
    /// QOS.
    #[serde(default)]
    pub qos: Names,
    /// GPU type (gres).
    pub gpu: String,
    /// Price of one GPU for an hour, in the currency of the other prices.
    pub price_per_hour: f64,
}

impl PriceEntry {
    /// # Errors
    /// A price that none can be.
    pub(crate) fn is_sound(&self) -> Result<(), String> {
        let price = self.price_per_hour;
        if price.is_finite() && price > 0.0 {
            return Ok(());
        }
        Err(format!(
            "price_per_hour of a [[price]] is {price}, not a positive number"
        ))
    }
}

/// The prices for one job: of `partitions` the first, by its own weights where Slurm states the
/// prices; then every `[[price]]` that fits, the first for each type.
pub fn for_job(
    gpus: &[SiteGpu],
    source: PriceSource,
    partition: Option<&Partition>,
    entries: &[PriceEntry],
    (account, qos): (Option<&str>, Option<&str>),
) -> Vec<SiteGpu> {
    let mut out = gpus.to_vec();
    if let (PriceSource::Slurm, Some(partition)) = (source, partition) {
        let all: Option<Vec<f64>> = out.iter().map(|g| billed(partition, &g.gres)).collect();
        for (gpu, price) in out.iter_mut().zip(all.unwrap_or_default()) {
            gpu.price_per_hour = price;
        }
    }
    let name = partition.map(|p| p.name.as_str());
    let fits = |e: &&PriceEntry| e.partition.fit(name) && e.account.fit(account) && e.qos.fit(qos);
    for gpu in &mut out {
        let mut own = entries.iter().filter(fits);
        if let Some(entry) = own.find(|e| e.gpu.eq_ignore_ascii_case(&gpu.gres)) {
            gpu.price_per_hour = entry.price_per_hour;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus() -> Vec<SiteGpu> {
        let gpu = |gres: &str| SiteGpu {
            gres: gres.into(),
            gpu: gres.into(),
            price_per_hour: 1.0,
        };
        vec![gpu("A100"), gpu("h100")]
    }

    fn prices(all: &[SiteGpu]) -> Vec<f64> {
        all.iter().map(|g| g.price_per_hour).collect()
    }

    fn partition(billing: &[(&str, f64)]) -> Partition {
        Partition {
            name: "serve".into(),
            billing: billing.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect(),
            ..Partition::default()
        }
    }

    #[test]
    fn a_partitions_weights_are_its_prices_where_it_states_one_for_every_type() {
        let both = partition(&[("cpu", 1.0), ("gres/gpu", 2.0), ("gres/gpu:h100", 3.5)]);
        let of =
            |p: &Partition, source| prices(&for_job(&gpus(), source, Some(p), &[], (None, None)));
        assert_eq!(of(&both, PriceSource::Slurm), [2.0, 5.5]);
        assert_eq!(of(&both, PriceSource::Configured), [1.0, 1.0]);
        assert_eq!(
            of(&partition(&[("gres/gpu:h100", 3.5)]), PriceSource::Slurm),
            [1.0, 1.0]
        );
    }

    #[test]
    fn the_first_entry_that_fits_counts() {
        let entry = |partition: &str, price| PriceEntry {
            partition: Names::One(partition.into()),
            account: Names::Any,
            qos: Names::Any,
            gpu: "H100".into(),
            price_per_hour: price,
        };
        let all = [
            entry("serve", 4.0),
            entry("serve", 9.0),
            entry("other", 7.0),
        ];
        let of = |p: &Partition| {
            prices(&for_job(
                &gpus(),
                PriceSource::Configured,
                Some(p),
                &all,
                (None, None),
            ))
        };
        assert_eq!(of(&partition(&[])), [1.0, 4.0]);
    }
}
