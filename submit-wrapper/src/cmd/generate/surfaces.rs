//! The surfaces of operations from a folder of measured ones: files of NVIDIA AIConfigurator as
//! `SYSTEM.FAMILY.SOURCE.TABLE.parquet`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use model_store::advisor::GpuSpec;
use model_store::advisor::ops::roofline::{Context, Experts, Generation, Latent, Rates, gemm};
use model_store::advisor::ops::table::{Key, Op, Surfaces, System, format};
use model_store::train::surfaces::{Held, Measurement, axes, fit, held_out};

use crate::tables::Encoding;

/// What an operation is told apart by, as text, with the least time measured for it, ms.
type Times = BTreeMap<(Key, String), Timed>;

/// One operation.
struct Timed {
    ms: f64,
    place: [f64; 4],
    roofline_s: f64,
}

/// Names of systems, and the GPU of the catalogue whose data sheet counts.
const SYSTEMS: [(&str, System, &str); 5] = [
    ("a100_sxm", System::A100, "A100-80GB"),
    ("h100_sxm", System::H100, "H100-SXM"),
    ("h200_sxm", System::H200, "H200"),
    ("l40s", System::L40s, "L40S"),
    ("b200_sxm", System::B200, "B200"),
];

/// Names of formats: code, bytes of a weight.
const FORMATS: [(&str, u8, f64); 7] = [
    ("bfloat16", format::BF16, 2.0),
    ("fp8", format::FP8, 1.0),
    ("fp8_block", format::FP8_BLOCK, 1.0),
    ("nvfp4", format::NVFP4, 0.5625),
    ("int4_wo", format::INT4, 0.53),
    ("w4a16_mxfp4", format::MXFP4, 0.53),
    ("w4a8_mxfp4_mxfp8", format::MXFP4_8, 0.53),
];

/// Largest spread of experts over GPUs that is learnt from.
const WIDEST_SPREAD: f64 = 16.0;

/// How each surface foretells what it was not fitted to; `None` where too little was held out.
type Told = Vec<(Key, Option<Held>)>;

/// The surfaces of a folder, and for each how it foretells what was held out.
///
/// # Errors
/// A folder or a table that cannot be read.
pub(super) fn of_folder(folder: &Path) -> io::Result<(Surfaces, Told)> {
    let mut times = Times::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".parquet") else {
            continue;
        };
        let (system, table) = (name.split('.').next(), name.rsplit('.').next());
        let known = SYSTEMS.iter().find(|(text, ..)| Some(*text) == system);
        if let (Some((_, system, gpu)), Some(table)) = (known, table) {
            let Some(gpu) = GpuSpec::by_name(gpu) else {
                continue;
            };
            read(&file.path(), *system, gpu, table, &mut times)?;
        }
    }
    let mut by_key: BTreeMap<Key, Vec<Measurement>> = BTreeMap::new();
    for ((key, _), timed) in times {
        by_key.entry(key).or_default().push(Measurement {
            place: timed.place,
            factor: (timed.ms * 1e-3 / timed.roofline_s).ln(),
        });
    }
    let (mut grids, mut told) = (Vec::new(), Vec::new());
    for (key, measured) in by_key {
        // On the A100 one width of head was measured, and no windows.
        let axes = axes(key.op, key.system != System::A100);
        told.push((key, held_out(&axes, &measured)));
        grids.extend(fit(axes, &measured).map(|grid| (key, grid)));
    }
    Ok((Surfaces::new(grids), told))
}

/// A row by the names of its columns.
struct Row<'a> {
    names: &'a csv::StringRecord,
    cells: &'a csv::StringRecord,
}

impl Row<'_> {
    fn text(&self, name: &str) -> &str {
        let at = self.names.iter().position(|n| n == name);
        at.and_then(|at| self.cells.get(at)).unwrap_or_default()
    }

    /// A number; not a number where the column is missing.
    fn number(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or(f64::NAN)
    }

    fn format(&self, column: &str) -> Option<(u8, f64)> {
        let named = self.text(column);
        let found = FORMATS.iter().find(|(name, ..)| *name == named);
        found.map(|(_, code, bytes)| (*code, *bytes))
    }
}

fn read(
    path: &Path,
    system: System,
    gpu: &GpuSpec,
    table: &str,
    times: &mut Times,
) -> io::Result<()> {
    let mut reader = csv::Reader::from_reader(Encoding::Parquet.as_csv(path)?);
    let names = reader.headers()?.clone();
    for cells in reader.records() {
        let cells = cells?;
        let row = Row {
            names: &names,
            cells: &cells,
        };
        let Some((op, code, place, roofline_s)) = operation(&row, table, gpu) else {
            continue;
        };
        let ms = row.number("latency");
        let sound = ms > 0.0 && roofline_s > 0.0 && place.iter().all(|x| x.is_finite());
        if !sound {
            continue;
        }
        let key = Key {
            system,
            op,
            format: code,
        };
        // Experts are told apart by how many tokens go where, and of kernels the fastest counts.
        let timed = Timed {
            ms,
            place,
            roofline_s,
        };
        let seen = times.entry((key, format!("{place:?}{roofline_s:e}")));
        let known = seen.or_insert_with(|| Timed { ..timed });
        known.ms = known.ms.min(ms);
    }
    Ok(())
}

type Operation = (Op, u8, [f64; 4], f64);

fn operation(row: &Row, table: &str, gpu: &GpuSpec) -> Option<Operation> {
    match table {
        "gemm" => product(row, gpu),
        "context_attention" => context(row, gpu),
        "generation_attention" => generation(row, gpu),
        "moe" => experts(row, gpu),
        "custom_allreduce" | "nccl" => all_reduce(row, table),
        "mla_context_module" => latent(row, gpu, false),
        "mla_generation_module" => latent(row, gpu, true),
        _ => None,
    }
}

fn rates(gpu: &GpuSpec, code: u8, weight_bytes: f64) -> Rates {
    let tflops = match code {
        format::FP8 | format::FP8_BLOCK | format::MXFP4_8 => gpu.tflops_fp8,
        format::NVFP4 => gpu.tflops_fp4,
        _ => gpu.tflops_16,
    };
    Rates {
        bandwidth: gpu.bandwidth_gb_s * 1e9,
        peak: tflops * 1e12,
        weight_bytes,
    }
}

fn padded<const N: usize>(place: [f64; N]) -> [f64; 4] {
    let mut out = [0.0; 4];
    for (cell, x) in out.iter_mut().zip(place) {
        *cell = x;
    }
    out
}

/// Block-scaled products of dense layers are timed with their quantisation launched one by one; in a
/// graph, as engines run them, they cost what per-tensor ones do.
fn product(row: &Row, gpu: &GpuSpec) -> Option<Operation> {
    let (code, bytes) = row.format("gemm_dtype")?;
    let sizes = ["m", "n", "k"].map(|name| row.number(name));
    if code == format::FP8_BLOCK || sizes[1] < 128.0 || sizes[2] < 128.0 {
        return None;
    }
    let (roofline, place) = gemm(rates(gpu, code, bytes), sizes);
    Some((Op::Gemm, code, padded(place), roofline))
}

/// Bytes of a KV value, and what is added to the format for it.
fn cache(row: &Row) -> (f64, u8) {
    if row.text("kv_cache_dtype").contains("fp8") {
        (1.0, format::KV8)
    } else {
        (2.0, 0)
    }
}

fn heads(row: &Row) -> [f64; 2] {
    let (heads, kv) = (row.number("num_heads"), row.number("num_key_value_heads"));
    [heads, if kv > 0.0 { kv } else { heads }]
}

fn is_16_bit(row: &Row) -> bool {
    let kind = row.text("attn_dtype");
    kind.contains("bf") || kind.contains("fl")
}

fn context(row: &Row, gpu: &GpuSpec) -> Option<Operation> {
    let ([heads, kv_heads], (kv_bytes, small)) = (heads(row), cache(row));
    let tokens = row.number("isl");
    let place = Context {
        batch: row.number("batch_size"),
        tokens,
        before: 0.0,
        heads,
        kv_heads,
        head_dim: row.number("head_dim"),
        window: row.number("window_size").max(0.0),
        kv_bytes,
    };
    let (roofline, at) = place.roofline(rates(gpu, format::BF16, 2.0));
    (is_16_bit(row) && tokens >= 16.0).then_some((Op::Context, small, at, roofline))
}

fn generation(row: &Row, gpu: &GpuSpec) -> Option<Operation> {
    let ([heads, kv_heads], (kv_bytes, small)) = (heads(row), cache(row));
    let place = Generation {
        batch: row.number("batch_size"),
        length: row.number("isl") + row.number("step"),
        heads,
        kv_heads,
        head_dim: row.number("head_dim"),
        window: row.number("window_size").max(0.0),
        kv_bytes,
    };
    let (roofline, at) = place.roofline(rates(gpu, format::BF16, 2.0));
    is_16_bit(row).then_some((Op::Generation, small, at, roofline))
}

fn experts(row: &Row, gpu: &GpuSpec) -> Option<Operation> {
    let (code, bytes) = row.format("moe_dtype")?;
    let spread = row.number("moe_ep_size");
    let place = Experts {
        tokens: row.number("num_tokens"),
        hidden: row.number("hidden_size"),
        width: row.number("inter_size") / row.number("moe_tp_size"),
        used: row.number("topk"),
        experts: row.number("num_experts"),
        spread,
    };
    let (roofline, at) = place.roofline(rates(gpu, code, bytes));
    // Real routers are not balanced.
    let uneven = row.text("distribution") != "balanced";
    (uneven && spread <= WIDEST_SPREAD).then_some((Op::Experts, code, at, roofline))
}

/// The faster of the engine's own kernel in a graph and NCCL, for tensors of 16 bits.
fn all_reduce(row: &Row, table: &str) -> Option<Operation> {
    let counts = if table == "nccl" {
        row.text("op_name") == "all_reduce" && row.text("nccl_dtype") == "half"
    } else {
        row.text("kernel_source") == "vLLM_custom_graph"
    };
    let gpus = row.number("num_gpus");
    let code = [2u8, 4, 8].into_iter().find(|n| f64::from(*n) == gpus)?;
    let place = padded([row.number("message_size").log2()]);
    counts.then_some((Op::AllReduce, code, place, 1.0))
}

fn latent(row: &Row, gpu: &GpuSpec, generation: bool) -> Option<Operation> {
    let (code, _) = row.format("gemm_type")?;
    let (kv_bytes, small) = cache(row);
    let rates = match code {
        format::FP8 | format::FP8_BLOCK => rates(gpu, code, 1.0),
        _ => rates(gpu, format::BF16, 2.0),
    };
    let step = if generation { row.number("step") } else { 0.0 };
    let length = row.number("isl") + step;
    let place = Latent {
        heads: row.number("num_heads"),
        batch: row.number("batch_size"),
        length,
        kv_bytes,
    };
    let (roofline, at) = place.roofline(rates, gpu.tflops_16 * 1e12, generation);
    let op = if generation {
        Op::LatentGeneration
    } else {
        Op::LatentContext
    };
    (length >= 2.0).then_some((op, code + small, padded(at), roofline))
}
