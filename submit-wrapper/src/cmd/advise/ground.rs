//! What an advice rests on: the snapshot of the site, or the public one that comes with the command.

use std::path::{Path, PathBuf};

use model_store::advisor::{ClusterState, GpuPool};
use model_store::config::{Config, DEFAULT_PATH};
use model_store::decision::{Bare, bare};
use model_store::job_request::Given;
use model_store::options::RawOptions;
use model_store::snapshot::Snapshot;

use crate::exit;
use crate::prices::Priced;
use crate::site::SiteArgs;
use crate::stated::Stated;
use crate::who;

/// Name of the public snapshot beside the command, as a build leaves it.
const BESIDE: &str = "public.snapshot";
/// Its place below the prefix of an installation, from the folder of the command.
const INSTALLED: &str = "../share/omnipilot/public.snapshot";

/// A snapshot and the GPUs to choose from.
pub(super) struct Ground {
    config: Config,
    snapshot: Snapshot,
    cluster: ClusterState,
    /// True where no site is configured, so that public evidence alone speaks.
    pub(super) public: bool,
}

impl Ground {
    /// The site's snapshot, or the public one where no site is configured. GPUs that are stated are
    /// all that there is on the latter, and a cap on the former.
    ///
    /// # Errors
    /// A configuration or snapshot that cannot be read, GPUs that the site has not, or no site and
    /// no GPUs stated.
    pub(super) fn find(
        site: &SiteArgs,
        stated: Option<&Stated>,
        nodes: Option<u32>,
    ) -> anyhow::Result<Self> {
        let mut ground = match stated {
            _ if is_configured(site) => Self::of_site(site.config()?, stated)?,
            Some(Stated::Of(cluster)) => Self::public(cluster)?,
            Some(Stated::Most(n)) => return Err(no_site(&format!("h100:{n},a100:{n}"))),
            None => return Err(no_site("h100:8,a100:8x2")),
        };
        if let Some(nodes) = nodes {
            ground.cluster = within(&ground.cluster, |pool| (pool.per_node, nodes));
        }
        Ok(ground)
    }

    fn of_site(config: Config, stated: Option<&Stated>) -> anyhow::Result<Self> {
        let snapshot = Snapshot::read(&config.snapshot).map_err(|e| {
            let fault = model_store::consult::Fault::from(e);
            exit::fail(fault.reason, fault.hint)
        })?;
        let cluster = match stated {
            Some(Stated::Of(most)) => capped(&snapshot.body.cluster, most)?,
            Some(Stated::Most(most)) => within(&snapshot.body.cluster, |pool| {
                let per_node = pool.per_node.min(*most);
                (per_node, most / per_node.max(1))
            }),
            None => snapshot.body.cluster.clone(),
        };
        Ok(Self {
            config,
            snapshot,
            cluster,
            public: false,
        })
    }

    fn public(stated: &ClusterState) -> anyhow::Result<Self> {
        let config = Config::beside_store(Path::new("public.db"));
        let file = public_file()?;
        let mut snapshot =
            Snapshot::read(&file).map_err(|e| exit::fail(e.to_string(), "install it anew"))?;
        snapshot.body.gpus = Priced::of(&config, stated, None).gpus;
        snapshot.body.cluster = stated.clone();
        Ok(Self {
            config,
            snapshot,
            cluster: stated.clone(),
            public: true,
        })
    }

    /// Asks the advisor on this ground, and the site's rules for a job of this user in this place.
    ///
    /// # Errors
    /// As [`bare`].
    pub(super) fn consult(&self, options: &RawOptions, given: &Given) -> anyhow::Result<Bare> {
        let who = who::me(&self.config, Vec::new());
        let (snapshot, cluster) = (&self.snapshot, &self.cluster);
        bare(snapshot, cluster, &self.config, options, given, &who)
            .map_err(|fault| exit::fail(fault.reason, fault.hint))
    }
}

/// True where a configuration or a store is named, or the machine has one.
fn is_configured(site: &SiteArgs) -> bool {
    site.store.is_some() || site.file().is_some() || Path::new(DEFAULT_PATH).exists()
}

/// Where the public snapshot lies: beside the command, or below the prefix that it is installed in.
fn public_file() -> anyhow::Result<PathBuf> {
    let command = std::env::current_exe()
        .ok()
        .and_then(|file| file.canonicalize().ok());
    let folder = command.as_deref().and_then(Path::parent);
    let places = folder.map(|folder| [folder.join(BESIDE), folder.join(INSTALLED)]);
    let found = places.iter().flatten().find(|file| file.exists()).cloned();
    found.ok_or_else(|| {
        exit::fail(
            "no public snapshot came with this command",
            "`make build` makes it; or `omnipilot --store s.db init`, `observe --gpus ...`, `train` in a folder of yours",
        )
    })
}

/// Without a site nobody knows which GPUs there are.
fn no_site(gpus: &str) -> anyhow::Error {
    exit::with_code(
        exit::USAGE,
        "no site is configured here, so the GPUs to choose from are not known",
        format!("`--gpus {gpus}` states them; `omnipilot setup` configures a site"),
    )
}

/// The cluster with at most so many GPUs on a node and so many nodes of each type.
fn within(cluster: &ClusterState, most: impl Fn(&GpuPool) -> (u32, u32)) -> ClusterState {
    let cap = |pool: &GpuPool| {
        let (per_node, nodes) = most(pool);
        let total = pool.total.min(per_node * nodes.min(pool.nodes));
        GpuPool {
            nodes: pool.nodes.min(nodes),
            per_node: pool.per_node.min(per_node),
            total,
            free: pool.free.min(total),
            ..pool.clone()
        }
    };
    ClusterState {
        pools: cluster.pools.iter().map(cap).collect(),
        ..cluster.clone()
    }
}

/// The cluster with at most the stated GPUs of each stated type, and none of the other types.
fn capped(cluster: &ClusterState, most: &ClusterState) -> anyhow::Result<ClusterState> {
    let mut pools = Vec::new();
    for cap in &most.pools {
        let has = |pool: &&GpuPool| pool.gres.eq_ignore_ascii_case(&cap.gres);
        let Some(pool) = cluster.pools.iter().find(has) else {
            let types: Vec<&str> = cluster.pools.iter().map(|p| p.gres.as_str()).collect();
            return Err(exit::with_code(
                exit::USAGE,
                format!("no `{}` GPUs here", cap.gres),
                format!("GPU types of this cluster: {}", types.join(", ")),
            ));
        };
        pools.push(pool.clone());
    }
    let stated = ClusterState {
        pools,
        ..cluster.clone()
    };
    Ok(within(&stated, |pool| {
        let cap = most
            .pools
            .iter()
            .find(|cap| cap.gres.eq_ignore_ascii_case(&pool.gres));
        cap.map_or((0, 0), |cap| (cap.per_node, cap.nodes))
    }))
}
