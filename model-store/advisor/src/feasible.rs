//! Hard rules: what no engine can run, with the reason in numbers.

use super::case::Precision;
use super::memory::{agreed, memory, room, too_small, weights_gib};
use super::setup::Setup;

/// Rows of weights that a block- or group-quantised checkpoint scales together.
const QUANTISATION_BLOCK: u32 = 128;

/// Why a setup cannot run; `None` = no rule forbids it. The rules are those of vLLM's
/// configuration checks; memory is what [`memory`] reckons.
pub fn infeasible(s: &Setup, quantise_at_load: bool) -> Option<String> {
    heads(s)
        .or_else(|| kv_heads(s))
        .or_else(|| vocabulary(s))
        .or_else(|| blocks(s, quantise_at_load))
        .or_else(|| capability(s))
        .or_else(|| context(s))
        .or_else(|| fits(s))
        .or_else(|| loads(s, quantise_at_load))
}

fn heads(s: &Setup) -> Option<String> {
    let odd = s.tp > 0 && !s.card.heads.is_multiple_of(s.tp);
    odd.then(|| {
        format!(
            "{} attention heads do not divide by tp {}",
            s.card.heads, s.tp
        )
    })
}

/// vLLM splits KV heads evenly or repeats them evenly.
fn kv_heads(s: &Setup) -> Option<String> {
    let kv = s.card.kv_heads.max(1);
    let even = s.card.kv_lora_rank > 0 || kv.is_multiple_of(s.tp.max(1)) || s.tp.is_multiple_of(kv);
    (s.engine == "vllm" && !even)
        .then(|| format!("{kv} KV heads neither divide by tp {} nor it by them", s.tp))
}

/// vLLM pads the vocabulary to a multiple of 64 words and splits it evenly: phi-4 has heads for TP 5
/// and no vocabulary for it.
fn vocabulary(s: &Setup) -> Option<String> {
    let padded = s.card.vocab.next_multiple_of(64);
    (s.engine == "vllm" && !padded.is_multiple_of(s.tp.max(1))).then(|| {
        format!(
            "{padded} padded words of the vocabulary do not divide by tp {}",
            s.tp
        )
    })
}

/// Blocks of weights that share a scale must not be cut: those of int4 checkpoints, and those of
/// the block-scaled fp8 checkpoints that these families are published in.
fn blocks(s: &Setup, quantise_at_load: bool) -> Option<String> {
    const IN_BLOCKS: [&str; 5] = ["qwen", "qwen-moe", "deepseek", "glm", "minimax"];
    let scaled = s.precision == Precision::Fp8
        && !quantise_at_load
        && IN_BLOCKS.contains(&s.card.family.as_str());
    let grouped = matches!(s.precision, Precision::Int4 | Precision::W4a8) || scaled;
    let width = if s.card.is_moe() {
        s.card.moe_intermediate
    } else {
        s.card.intermediate
    };
    let cut = s.engine == "vllm"
        && grouped
        && width > 0
        && !width.is_multiple_of(s.tp * QUANTISATION_BLOCK);
    cut.then(|| format!("feed-forward width {width} over tp {} is not a multiple of the {QUANTISATION_BLOCK} rows of a {} block", s.tp, s.precision))
}

/// Lowest compute capability on which the engine runs the format, by the table of formats.
fn capability(s: &Setup) -> Option<String> {
    let least = s.precision.format().least(s.engine);
    if s.gpu.capability == 0 || s.gpu.capability >= least {
        return None;
    }
    let (has, needs) = (f64::from(s.gpu.capability) / 10.0, f64::from(least) / 10.0);
    Some(format!(
        "{} needs compute capability {needs:.1}, {} has {has:.1}",
        s.precision, s.gpu.name
    ))
}

fn context(s: &Setup) -> Option<String> {
    let most = f64::from(s.card.max_context);
    if let Some(stated) = s.limits.context.map(f64::from).filter(|n| *n > most) {
        return Some(format!(
            "a context of {stated:.0} tokens is stated, the model's is {most:.0}"
        ));
    }
    (s.context() > most).then(|| {
        format!(
            "{:.0} tokens of input and output, the model's context is {most:.0}",
            s.context()
        )
    })
}

/// Chance of starting below which memory forbids a setup.
const UNLIKELY: f64 = 0.1;

fn fits(s: &Setup) -> Option<String> {
    let s = &agreed(s);
    (room(s).starts < UNLIKELY).then(|| too_small(s))
}

/// Until pull request 31914 (January 2026, released with 0.15) vLLM read the whole checkpoint in its
/// stored format before it quantised anything. Which version a job will start is not known, so what
/// is advised has to load in either.
fn loads(s: &Setup, quantise_at_load: bool) -> Option<String> {
    if !quantise_at_load {
        return None;
    }
    let (stored, usable) = (weights_gib(s, Precision::Bf16), memory(s).usable);
    (stored > usable).then(|| {
        format!(
            "{stored:.1} GiB of the checkpoint on each GPU while vLLM before 0.15 quantises it at load, {usable:.1} GiB usable"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Variant, Workload};
    use crate::limits::Limits;
    use crate::physics::physics;
    use crate::{Catalogue, GPUS, GpuSpec, ModelCard};
    use proptest::prelude::*;

    fn setup<'a>(card: &'a ModelCard, gpu: &'static GpuSpec, tp: u32, isl: f64) -> Setup<'a> {
        Setup {
            card,
            gpu,
            tp,
            pp: 1,
            dp: 1,
            precision: Precision::Bf16,
            kv_bytes: 2.0,
            isl,
            osl: 64.0,
            workload: Workload::ClosedLoop,
            concurrency: Some(8.0),
            rate: None,
            engine: "vllm",
            engine_version: "",
            source: "",
            variant: Variant::default(),
            limits: Limits::default(),
            starts: None,
            assumed: [false; 3],
        }
    }

    #[test]
    fn heads_that_divide_do_not_help_a_vocabulary_that_does_not() {
        let catalogue = Catalogue::built_in();
        let card = catalogue.find("microsoft/phi-4").unwrap();
        let of = |tp| setup(card, GpuSpec::by_name("H100-SXM").unwrap(), tp, 100.0);
        assert!(
            infeasible(&of(5), false)
                .unwrap()
                .contains("100352 padded words")
        );
        assert_eq!(infeasible(&of(2), false), None);
    }

    proptest! {
        #[test]
        fn more_memory_never_makes_infeasible(
            model in any::<prop::sample::Index>(), gpu in any::<prop::sample::Index>(),
            format in prop::sample::select(Precision::ALL.to_vec()),
            engine in prop::sample::select(vec!["vllm", "sglang", "tensorrt-llm", "tgi"]),
            tp in 0u32..4, pp in 1u32..4, isl in 1.0..200_000.0f64, memory in 8.0..200.0f64, more in 0.0..200.0f64,
        ) {
            let catalogue = Catalogue::built_in();
            let card = model.get(catalogue.cards());
            let with = |memory_gib: f64| -> &'static GpuSpec {
                Box::leak(Box::new(GpuSpec { memory_gib, ..*gpu.get(&GPUS) }))
            };
            let of = |memory: f64| Setup {
                precision: format,
                engine,
                pp,
                ..setup(card, with(memory), 1 << tp, isl)
            };
            if infeasible(&of(memory), false).is_none() {
                prop_assert_eq!(infeasible(&of(memory + more), false), None);
            }
        }

        /// Of the physics alone: what is learnt follows engines that measurably lose from preempting. Kernels change with
        /// the size of the batch, and the measured times with them: so far apart as a factor of 1.5, by at most a tenth.
        #[test]
        fn more_concurrency_hardly_lowers_saturated_throughput(
            model in any::<prop::sample::Index>(), gpu in any::<prop::sample::Index>(), tp in 0u32..4, dp in 1u32..4,
            isl in 1.0..50_000.0f64, concurrency in 1.0..4096.0f64, more in 1.5..64.0f64,
        ) {
            let catalogue = Catalogue::built_in();
            let card = model.get(catalogue.cards());
            let of = |concurrency| {
                let s = Setup { dp, concurrency: Some(concurrency), ..setup(card, gpu.get(&GPUS), 1 << tp, isl) };
                physics(&s).saturated_tok_s
            };
            let (few, many) = (of(concurrency), of(concurrency * more));
            prop_assert!(many >= few * 0.9, "{}: {few} {many}", card.name);
        }

        #[test]
        fn more_stages_never_make_what_fits_not_fit(
            model in any::<prop::sample::Index>(), gpu in any::<prop::sample::Index>(), tp in 0u32..4, pp in 1u32..8, isl in 1.0..100_000.0f64,
        ) {
            let catalogue = Catalogue::built_in();
            let card = model.get(catalogue.cards());
            let of = |pp| Setup { pp, ..setup(card, gpu.get(&GPUS), 1 << tp, isl) };
            let (few, many) = (memory(&of(pp)), memory(&of(pp + 1)));
            prop_assert!(many.needed() <= few.needed() + 1e-9);
        }

        #[test]
        fn what_is_quantised_at_load_fits_as_it_is_stored(
            model in any::<prop::sample::Index>(), gpu in any::<prop::sample::Index>(), tp in 0u32..4,
        ) {
            let catalogue = Catalogue::built_in();
            let card = model.get(catalogue.cards());
            let s = Setup { precision: Precision::Fp8, ..setup(card, gpu.get(&GPUS), 1 << tp, 1000.0) };
            if infeasible(&s, true).is_none() {
                let stored = Setup { precision: Precision::Bf16, ..s };
                prop_assert!(memory(&stored).weights <= memory(&s).usable);
            }
        }

        #[test]
        fn a_longer_context_never_makes_feasible(
            model in any::<prop::sample::Index>(), gpu in any::<prop::sample::Index>(), tp in 0u32..4, isl in 1.0..100_000.0f64, more in 0.0..100_000.0f64,
        ) {
            let catalogue = Catalogue::built_in();
            let card = model.get(catalogue.cards());
            let of = |isl| setup(card, gpu.get(&GPUS), 1 << tp, isl);
            if infeasible(&of(isl), false).is_some() {
                prop_assert!(infeasible(&of(isl + more), false).is_some());
            }
        }
    }
}
