//! The configuration that `setup` writes: the example, with this cluster's paths and GPU types. Pure.

use std::path::Path;

use model_store::advisor::{GPUS, GpuPool, GpuSpec, gpu_name_of_gres};

/// The example that is shipped.
const EXAMPLE: &str = include_str!("../../../../etc/omnipilot.toml");
/// Where the example says what a section of a GPU type is.
const BEFORE_GPUS: &str = "# One section a GPU type";

/// The three paths that have no default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paths<'a> {
    pub(super) store: &'a Path,
    pub(super) snapshot: &'a Path,
    pub(super) spool: &'a Path,
}

/// The example with these paths, and a section for each GPU type that the cluster has.
pub(super) fn configuration(cluster: &str, paths: Paths, pools: &[GpuPool]) -> String {
    let mut text = format!("# Written by `omnipilot setup` for the cluster {cluster}.\n");
    for line in EXAMPLE.lines() {
        if line.starts_with(BEFORE_GPUS) {
            text.push_str(&sections(pools));
        }
        let key = line.split(" = ").next().unwrap_or_default();
        let path = match key {
            "store" => paths.store,
            "snapshot" => paths.snapshot,
            "spool" => paths.spool,
            _ => {
                text.push_str(line);
                text.push('\n');
                continue;
            }
        };
        text.push_str(&format!(
            "{key} = {}\n",
            toml_string(&path.display().to_string())
        ));
    }
    text
}

fn sections(pools: &[GpuPool]) -> String {
    if pools.is_empty() {
        return "# No node of this cluster had GPUs with a type when this was written.\n\n".into();
    }
    let all: String = pools.iter().map(section).collect();
    format!(
        "# The GPU types that Slurm told of. Advice ranks by price only where prices are given.\n{all}"
    )
}

fn section(pool: &GpuPool) -> String {
    let head = format!(
        "[gpu.{}] # {} node{} with up to {} each\n",
        key(&pool.gres),
        pool.nodes,
        if pool.nodes == 1 { "" } else { "s" },
        pool.per_node
    );
    let meaning = match gpu_name_of_gres(&pool.gres).and_then(GpuSpec::by_name) {
        Some(gpu) => format!("is = \"{}\" # {}\n", gpu.name, data_sheet(gpu)),
        None => format!(
            "# `{}` is not known by this name, so it is never advised until `is` names one of\n\
             # {}\n#is = \"\"\n",
            pool.gres,
            GPUS.map(|g| g.name).join(", ")
        ),
    };
    format!("{head}{meaning}#price_per_hour = 1.0\n\n")
}

fn data_sheet(gpu: &GpuSpec) -> String {
    format!(
        "{:.0} GiB, {:.0} GB/s, {:.0} TFLOP/s at 16 bits; check that the board is this one",
        gpu.memory_gib, gpu.bandwidth_gb_s, gpu.tflops_16
    )
}

/// A key of TOML: bare where it may be.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        toml_string(name)
    }
}

/// A basic string of TOML.
pub(crate) fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_store::config::Config;

    fn pool(gres: &str) -> GpuPool {
        GpuPool {
            gres: gres.into(),
            nodes: 2,
            per_node: 8,
            ..GpuPool::default()
        }
    }

    #[test]
    fn what_is_written_is_a_configuration_of_these_paths_and_types() {
        let paths = Paths {
            store: Path::new("/srv/o p/\"s\".db"),
            snapshot: Path::new("/srv/m.snapshot"),
            spool: Path::new("/srv/spool"),
        };
        let pools = ["h100", "rtx6000", "odd name"].map(pool);
        let text = configuration("hal", paths, &pools);
        let config = Config::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(config.store, paths.store);
        assert_eq!(config.spool, paths.spool);
        assert_eq!(config.gpu["h100"].is.as_deref(), Some("H100-SXM"));
        assert_eq!(config.gpu["rtx6000"].is, None);
        assert!(config.gpu.contains_key("odd name"));
        assert!(text.contains("`rtx6000` is not known by this name"));
        // Everything that the example explains is still there.
        assert!(text.contains("#price_per_kwh = 0.3"));
    }

    #[test]
    fn a_cluster_without_gpus_is_told_so() {
        let paths = Paths {
            store: Path::new("/a"),
            snapshot: Path::new("/b"),
            spool: Path::new("/c"),
        };
        let text = configuration("hal", paths, &[]);
        assert!(Config::parse(&text).unwrap().gpu.is_empty());
        assert!(text.contains("No node of this cluster had GPUs"));
    }
}
