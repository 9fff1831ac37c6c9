//! What the GPU types of a cluster mean and cost.

use model_store::advisor::{ClusterState, Economy, SiteGpu, gpu_name_of_gres};
use model_store::config::{Config, GpuEntry};
use model_store::prices::{self, PriceSource};
use model_store::slurm_view::SlurmView;

/// Price of a GPU-hour where prices are not stated: the ranking is by GPU-hours.
const WITHOUT_A_PRICE: f64 = 1.0;

/// The cluster's GPU types with their prices.
pub(crate) struct Priced {
    /// What each type means and costs. A type that means nothing known is no candidate.
    pub(crate) gpus: Vec<SiteGpu>,
    /// Types without a price although others have one: then none counts, for a price beside a 1 that
    /// nobody stated would decide by an accident.
    pub(crate) unpriced: Vec<String>,
    /// The configured economy; energy counts only beside prices.
    pub(crate) economy: Economy,
    /// Where the prices come from.
    pub(crate) source: PriceSource,
}

impl Priced {
    /// The types that the cluster has, under this configuration; with none of it, as Slurm's billing
    /// weights have them in the default partition; else at public prices.
    pub(crate) fn of(config: &Config, cluster: &ClusterState, view: Option<&SlurmView>) -> Self {
        let known: Vec<(&str, &str, Option<f64>)> = cluster
            .pools
            .iter()
            .map(|pool| pool.gres.as_str())
            .filter_map(|gres| Some((gres, gpu_of(config, gres)?, price_of(config, gres))))
            .collect();
        let all_priced = known.iter().all(|(.., price)| price.is_some());
        let some_priced = known.iter().any(|(.., price)| price.is_some());
        let unpriced = known.iter().filter(|(.., price)| price.is_none());
        let partition = cluster.default_partition.as_ref();
        let partition = partition.and_then(|name| Some(view?.partition(name)?.1));
        let every = |price: &dyn Fn(&str, &str) -> Option<f64>| -> Option<Vec<f64>> {
            known
                .iter()
                .map(|(gres, gpu, _)| price(gres, gpu))
                .collect()
        };
        let (source, prices) = if some_priced {
            (
                PriceSource::Configured,
                every(&|gres, _| price_of(config, gres)),
            )
        } else if let Some(billed) = every(&|gres, _| prices::billed(partition?, gres)) {
            (PriceSource::Slurm, Some(billed))
        } else {
            (PriceSource::Public, every(&|_, gpu| prices::public(gpu)))
        };
        let source = if prices.is_some() && !known.is_empty() {
            source
        } else {
            PriceSource::Nobody
        };
        let prices = prices.unwrap_or_else(|| vec![WITHOUT_A_PRICE; known.len()]);
        let mut economy = config.utility;
        if !all_priced {
            economy.price_per_kwh = None;
        }
        Self {
            unpriced: unpriced
                .filter(|_| some_priced)
                .map(|(gres, ..)| (*gres).to_owned())
                .collect(),
            gpus: known
                .iter()
                .zip(prices)
                .map(|((gres, gpu, _), price)| SiteGpu {
                    gres: (*gres).to_owned(),
                    gpu: (*gpu).to_owned(),
                    price_per_hour: price,
                })
                .collect(),
            economy,
            source,
        }
    }

    /// Says on standard error that prices do not count, where they do not for want of one.
    pub(crate) fn warn(&self) {
        if let Some(first) = self.unpriced.first() {
            let of = self.unpriced.len();
            let all = self.gpus.len();
            eprintln!(
                "warning: {of} of {all} GPU types have no price_per_hour (`{first}`), so no price counts: the ranking is by GPU-hours"
            );
            eprintln!(
                "hint: `[gpu.\"{first}\"]` with `price_per_hour` in the configuration, for each of them"
            );
        }
    }
}

/// The GPU of the catalogue that a Slurm GPU type means: the configuration's word, else the usual
/// meaning of its name.
pub(crate) fn gpu_of(config: &Config, gres: &str) -> Option<&'static str> {
    let stated = entry(config, gres).and_then(|e| e.is.as_deref());
    gpu_name_of_gres(stated.unwrap_or(gres))
}

fn price_of(config: &Config, gres: &str) -> Option<f64> {
    entry(config, gres).and_then(|e| e.price_per_hour)
}

fn entry<'a>(config: &'a Config, gres: &str) -> Option<&'a GpuEntry> {
    config
        .gpu
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(gres))
        .map(|(_, entry)| entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_store::advisor::GpuPool;

    fn priced(config: &str) -> Priced {
        let pool = |gres: &str| GpuPool {
            gres: gres.into(),
            ..GpuPool::default()
        };
        let cluster = ClusterState {
            pools: ["a100", "h100", "weird"].map(pool).to_vec(),
            ..ClusterState::default()
        };
        let paths = "store = \"/s\"\nsnapshot = \"/m\"\nspool = \"/p\"\n";
        Priced::of(
            &Config::parse(&format!("{paths}{config}")).unwrap(),
            &cluster,
            None,
        )
    }

    fn prices(p: &Priced) -> Vec<f64> {
        p.gpus.iter().map(|g| g.price_per_hour).collect()
    }

    #[test]
    fn prices_count_where_every_type_that_can_be_advised_has_one() {
        let both = "[gpu.a100]\nprice_per_hour = 1.8\n[gpu.H100]\nprice_per_hour = 3.0\n[utility]\nprice_per_kwh = 0.3";
        let p = priced(both);
        assert_eq!((prices(&p), p.unpriced.len()), (vec![1.8, 3.0], 0));
        assert_eq!(p.economy.price_per_kwh, Some(0.3));
    }

    #[test]
    fn one_price_alone_decides_nothing() {
        let p = priced("[gpu.h100]\nprice_per_hour = 3.0\n[utility]\nprice_per_kwh = 0.3");
        assert_eq!(
            (prices(&p), p.unpriced.clone()),
            (vec![1.0, 1.0], vec!["a100".to_owned()])
        );
        assert_eq!(p.economy.price_per_kwh, None);
        assert!(priced("").unpriced.is_empty());
    }

    #[test]
    fn without_a_price_of_its_own_a_site_has_public_ones() {
        let p = priced("");
        assert_eq!(
            (prices(&p), p.source),
            (vec![1.39, 2.69], PriceSource::Public)
        );
        // Of one type there is none: then none counts.
        let p = priced("[gpu.weird]\nis = \"T4\"");
        assert_eq!((prices(&p), p.source), (vec![1.0; 3], PriceSource::Nobody));
    }
}
