//! InferenceX (InferenceMAX) aggregates: times in seconds, throughput of one GPU, input and output
//! together; output alone under a name of its own in newer ones.
//!
//! Total throughput was divided by all GPUs. Output throughput was divided by the GPUs that decode, where prefill and
//! decode run apart; later files divide it by all and keep the other as `output_tput_per_decode_gpu`.
//! On one node the GPUs are TP x PP x prefill-context-parallel.

use serde_json::Value;

use super::bag::{Bag, as_flag, as_number, as_text};
use super::deployment::{Deployment, Engines, Role};
use super::reuse::reuse;
use super::{Load, Reading};
use crate::advisor::{Measured, Variant};

/// Images that hold an engine and whose tag is its version.
const ENGINE_IMAGES: [&str; 5] = [
    "vllm-openai",
    "vllm-openai-rocm",
    "vllm",
    "sglang",
    "lmdeploy",
];

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    // The dashboard's rows have the figures in an object of their own.
    let mut figures = Bag::of(
        document
            .get("metrics")
            .filter(|m| m.is_object())
            .unwrap_or(document),
    );
    let hw = bag.text(&["hw", "hardware"]);
    let gpu = gpu_of(&hw);
    let parts = engines(&mut bag, &gpu)?;
    let deployment = Deployment::of(&parts)?;
    let gpus = deployment
        .gpus()
        .ok_or("it does not tell its GPUs (`tp`)")?;
    let decoding: u32 = match parts.iter().find(|p| p.role == Role::Decode) {
        Some(part) => part.gpus.unwrap_or(gpus),
        None => gpus,
    };
    let of = |per_gpu: Option<f64>, gpus: u32| per_gpu.map(|x| x * f64::from(gpus));
    let (isl, osl) = (bag.positive(&["isl"]), bag.positive(&["osl"]));
    let total = of(figures.positive(&["tput_per_gpu"]), gpus);
    let of_decode = figures.positive(&["output_tput_per_decode_gpu"]);
    let per_gpu = figures.positive(&["output_tput_per_gpu"]);
    let output = match of_decode {
        Some(_) => of(per_gpu, gpus).or(of(of_decode, decoding)),
        None => of(per_gpu, decoding),
    };
    let mut ms = |key: &'static str| figures.positive(&[key]).map(|s| s * 1e3);
    let measured = Measured {
        total_tok_s: total,
        // Where only the sum is told, the lengths tell its parts.
        output_tok_s: output.or_else(|| Some(total? * osl? / (isl? + osl?))),
        ttft_ms: ms("mean_ttft"),
        ttft_p50_ms: ms("median_ttft"),
        ttft_p99_ms: ms("p99_ttft"),
        tpot_ms: ms("mean_tpot"),
        tpot_p99_ms: ms("p99_tpot"),
        e2e_ms: ms("mean_e2el"),
        e2e_p99_ms: ms("p99_e2el"),
        ..Measured::default()
    };
    let speculative =
        ["spec_method", "spec_decoding", "mtp"].map(|key| bag.take(&[key]).is_some_and(is_on));
    let found = reuse(document, &["metrics"]);
    let ep = bag.count(&["ep", "decode_ep"]).filter(|n| *n > 1);
    let image = bag.text(&["image"]);
    let version = bag.text(&["version"]);
    let reading = Reading {
        model: bag.text(&["model", "infmax_model_prefix"]),
        gpu,
        precision: bag.text(&["precision"]),
        engine: bag.text(&["framework"]),
        engine_version: Some(version)
            .filter(|v| !v.is_empty())
            .or_else(|| tag(&image))
            .unwrap_or_default(),
        isl,
        osl,
        load: Load::asked(None, bag.positive(&["conc", "concurrency"]), None),
        variant: Variant {
            speculative: speculative.contains(&true),
            prefix_cached: found.prefix,
            multi_turn: found.turns,
            moe_ep: ep.and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
            ..Variant::default()
        },
        measured,
        notes: [
            vec![format!("image={image}")]
                .into_iter()
                .filter(|_| !image.is_empty())
                .collect(),
            bag.rest(),
        ]
        .concat(),
        ..Reading::default()
    };
    Ok(reading.deployed(deployment))
}

/// The engines of a single node, or of each role.
fn engines(bag: &mut Bag, gpu: &str) -> Result<Vec<Engines>, String> {
    let roles = [(Role::Prefill, "prefill"), (Role::Decode, "decode")]
        .map(|(role, name)| part(bag, role, name));
    let apart = bag.flag(&["disagg"]);
    let told = roles.iter().flatten().count() > 0;
    match apart {
        None if told && bag.flag(&["is_multinode"]) != Some(false) => {
            Err("it does not tell whether prefill and decode run apart (`disagg`)".into())
        }
        Some(true) => {
            let roles: Vec<Engines> = roles.into_iter().flatten().collect();
            if roles.is_empty() {
                return Err("it runs prefill and decode apart and does not tell their GPUs".into());
            }
            let kinds: Vec<String> = roles
                .iter()
                .map(|r| r.gpu.clone())
                .filter(|g| !g.is_empty())
                .collect();
            if kinds.iter().any(|kind| kind != gpu) {
                return Err(format!("it mixes GPUs: {}", kinds.join(", ")));
            }
            Ok(roles)
        }
        // One engine's figures may stand under either role, or under both.
        _ => match bag.count(&["tp"]) {
            Some(tp) => Ok(vec![Engines {
                tp: Some(tp),
                pp: bag.count(&["pp"]),
                dp: bag.count(&["pcp_size"]),
                replicas: 1,
                ..Engines::default()
            }]),
            None => {
                let [prefill, decode] = roles;
                let counts = [&prefill, &decode].map(|part| part.as_ref().and_then(|p| p.gpus));
                if let [Some(prefill), Some(decode)] = counts
                    && prefill != decode
                {
                    return Err(format!(
                        "it counts {prefill} GPUs for prefill and {decode} for decode, and runs both together"
                    ));
                }
                let one = prefill
                    .or(decode)
                    .ok_or("it does not tell its GPUs (`tp`)")?;
                Ok(vec![Engines {
                    role: Role::Whole,
                    ..one
                }])
            }
        },
    }
}

/// What is told of one role; `None` where it has no GPUs or none of its keys are there.
fn part(bag: &mut Bag, role: Role, name: &str) -> Option<Engines> {
    let key = |what: &str| format!("{name}_{what}");
    let all = bag.count(&[&format!("num_{name}_gpu")]);
    let tp = bag.count(&[&key("tp")]);
    let pp = bag.count(&[&key("pp")]);
    let workers = bag.count(&[&key("num_workers")]);
    let pcp = bag.count(&[&key("pcp_size")]).unwrap_or(1);
    let gpu = bag.text(&[&key("hw")]);
    if all.is_none() && tp.is_none() {
        return None;
    }
    let each = tp.map(|tp| tp * pcp * pp.unwrap_or(1));
    // The count of the role is what its throughput was divided by; its workers are as many as fit.
    let replicas = match (all, each) {
        (Some(all), Some(each)) if all.is_multiple_of(each) => all / each,
        (Some(_), _) => 1,
        (None, _) => workers.unwrap_or(1),
    };
    let fits = all
        .zip(each)
        .is_none_or(|(all, each)| all.is_multiple_of(each));
    Some(Engines {
        role,
        tp: tp.filter(|_| fits),
        pp,
        // Each of the GPUs that share a prompt has the weights, as each of several engines has.
        dp: Some(pcp),
        dp_shares_gpus: false,
        replicas,
        gpus: all.or(each.map(|n| n * replicas)),
        gpu: gpu_of(&gpu),
    })
}

/// `h200-nv`, `b200-trt`: the GPU, and where it stands.
fn gpu_of(hw: &str) -> String {
    hw.split(['-', '_']).next().unwrap_or_default().to_owned()
}

/// True for a method, a truth or a number; not for the words that mean none.
fn is_on(value: &Value) -> bool {
    as_flag(value).unwrap_or_else(|| as_text(value).is_some() || as_number(value).is_some())
}

/// The engine's version where the image is the engine's own: `vllm/vllm-openai:v0.11.0`.
fn tag(image: &str) -> Option<String> {
    let (name, tag) = image.rsplit_once(':')?;
    let own = name
        .rsplit(['/', '#'])
        .next()
        .is_some_and(|n| ENGINE_IMAGES.contains(&n));
    let version = tag.strip_prefix('v').unwrap_or(tag).split('-').next()?;
    (own && version.starts_with(|c: char| c.is_ascii_digit())).then(|| version.to_owned())
}
