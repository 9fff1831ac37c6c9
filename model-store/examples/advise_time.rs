//! How long one advice takes: `cargo run --release --example advise_time -- SNAPSHOT [MODEL]`.
//!
//! Prints the median of the time that the advisor takes over every candidate of a cluster with
//! A100, H100 and H200 nodes, reading the snapshot not included.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use model_store::advisor::{
    ClusterState, Fallen, GpuPool, Knowledge, Load, Pins, Request, SiteGpu, Slo, advise,
    gpu_name_of_gres,
};
use model_store::snapshot::Snapshot;

/// Advices timed.
const TIMES: usize = 101;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_default();
    let model = arguments
        .next()
        .unwrap_or_else(|| "meta-llama/Llama-3.1-70B-Instruct".into());
    let from = Instant::now();
    let snapshot = match Snapshot::read(Path::new(&path)) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    println!(
        "reading the snapshot: {:.2} ms",
        from.elapsed().as_secs_f64() * 1e3
    );
    let Some(card) = snapshot.body.catalogue.find(&model).cloned() else {
        return ExitCode::from(2);
    };
    let request = Request {
        card,
        checkpoint_precision: None,
        checkpoints: Vec::new(),
        engine: "vllm".into(),
        load: Load {
            isl: 2000.0,
            osl: 300.0,
            concurrency: Some(64.0),
            rate: None,
        },
        slo: Slo::default(),
        pins: Pins::default(),
    };
    let gres = ["a100", "h100", "h200"];
    let pool = |g: &str| GpuPool {
        gres: g.into(),
        nodes: 1,
        per_node: 8,
        total: 8,
        free: 8,
        ..GpuPool::default()
    };
    let cluster = ClusterState {
        pools: gres.map(pool).to_vec(),
        observed_at: None,
        default_partition: None,
    };
    let site = |g: &&str| SiteGpu {
        gres: (*g).into(),
        gpu: gpu_name_of_gres(g).unwrap_or_default().into(),
        price_per_hour: 1.0,
    };
    let gpus: Vec<SiteGpu> = gres.iter().map(site).collect();
    let known = Knowledge {
        cluster: &cluster,
        gpus: &gpus,
        ..snapshot.knowledge()
    };
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..TIMES {
        let from = Instant::now();
        let advice = advise(known, &request);
        times.push(from.elapsed().as_secs_f64() * 1e3);
        if times.len() == TIMES {
            let predicted = advice
                .candidates
                .iter()
                .filter(|a| {
                    !matches!(
                        a.fallen,
                        Some(Fallen::Infeasible(_) | Fallen::OutOfSupport(_))
                    )
                })
                .count();
            println!(
                "{} candidates, {predicted} of them predicted",
                advice.candidates.len()
            );
        }
    }
    times.sort_by(f64::total_cmp);
    println!("one advice: {:.2} ms (median of {TIMES})", times[TIMES / 2]);
    ExitCode::SUCCESS
}
