//! The example files in `etc/` are what the program reads.
#![allow(clippy::unwrap_used, reason = "a failed test is to stop")]

use model_store::advisor::Economy;
use model_store::config::{Config, DEFAULT_PATH, OnFault, Probes};
use model_store::policy::PolicyMode;

const TOML: &str = include_str!("../../etc/omnipilot.toml");
const PLUGSTACK: &str = include_str!("../../etc/plugstack.conf.d/omnipilot.conf");

/// The example with its commented settings switched on; a comment's text begins with a blank.
fn all_switched_on() -> String {
    let setting = |line: &'static str| {
        line.strip_prefix('#')
            .filter(|rest| !rest.starts_with(' '))
            .unwrap_or(line)
    };
    TOML.lines().map(setting).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_configuration_is_one() {
    let config = Config::parse(TOML).unwrap();
    assert_eq!(config.store.to_str(), Some("/var/lib/omnipilot/store.db"));
    assert!(config.gpu.is_empty() && config.model.is_empty());
}

/// Named one by one: a new key does not compile here until the example has it too.
#[test]
fn the_example_names_every_key_with_its_default() {
    let Config {
        store,
        snapshot,
        spool,
        engine,
        time_limit_ms,
        least_serving_minutes,
        ask_slurm,
        on_fault,
        rewrite,
        policy,
        limit,
        price,
        gpu,
        model,
        utility,
        training,
        probe,
    } = Config::parse(&all_switched_on()).unwrap();
    assert!(store.is_absolute() && snapshot.is_absolute() && spool.is_absolute());
    let defaults = Config::beside_store(&store);
    assert_eq!(
        (engine, time_limit_ms, least_serving_minutes, on_fault),
        (
            defaults.engine,
            defaults.time_limit_ms,
            defaults.least_serving_minutes,
            OnFault::Submit
        )
    );
    assert!(ask_slurm && !defaults.ask_slurm);
    let a100 = gpu.get("a100").unwrap();
    assert!(a100.is.is_some() && a100.price_per_hour.is_some());
    assert!(!a100.features.is_empty() && a100.cpus_per_gpu.is_some() && a100.mem_per_gpu.is_some());
    assert_eq!(rewrite.gpus, defaults.rewrite.gpus);
    assert!(rewrite.cpus_per_gpu.is_some() && rewrite.mem_per_gpu.is_some());
    let modes: Vec<PolicyMode> = policy.iter().map(|entry| entry.mode).collect();
    assert_eq!(
        modes,
        [PolicyMode::Off, PolicyMode::Enforce, PolicyMode::Advise]
    );
    let limited: Vec<Option<u64>> = limit.iter().map(|entry| entry.most_gpus).collect();
    assert_eq!(limited, [Some(4), None]);
    assert!(limit[1].types.all() == ["a100", "l40s"] && limit[0].names_groups());
    assert!(price.len() == 1 && price[0].price_per_hour > 0.0);
    let ours = model.values().next().unwrap();
    assert!(ours.config.is_some() && ours.checkpoints.len() == 2);
    assert!(utility.price_per_kwh.is_some());
    let priced = Economy {
        price_per_kwh: None,
        ..utility
    };
    assert_eq!(priced, defaults.utility);
    assert_eq!(training, defaults.training);
    assert_eq!(probe.sbatch.len(), 2);
    assert!(probe.serve.is_some() && probe.load.is_some() && !probe.setup.is_empty());
    let usual = Probes {
        sbatch: Vec::new(),
        setup: String::new(),
        serve: None,
        load: None,
        ..probe
    };
    assert_eq!(usual, defaults.probe);
    for key in ["engine", "time_limit_ms", "on_fault"] {
        assert!(TOML.contains(&format!("\n#{key} = ")), "{key}");
    }
}

#[test]
fn the_plugstack_entry_is_optional_and_names_the_usual_configuration() {
    let lines: Vec<&str> = PLUGSTACK
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let [line] = lines[..] else {
        panic!("{lines:?}")
    };
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], "optional");
    assert!(words[1].ends_with("/spank_omnipilot.so"));
    assert_eq!(words[2..], [format!("config={DEFAULT_PATH}")]);
}
