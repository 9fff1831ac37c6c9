//! What arithmetic allows: a rate that needs more operations than the job's GPUs can do was not
//! measured, whoever says so. Pure.

use model_store::advisor::{Catalogue, GpuSpec, Precision};

/// Formats that a GPU may multiply faster than 16-bit numbers.
const FAST: [Precision; 4] = [
    Precision::Bf16,
    Precision::W8a8,
    Precision::Fp8,
    Precision::Nvfp4,
];

/// Why so many output tokens/s of a model cannot have been measured on so many GPUs; `None` where
/// nothing speaks against it, or where model or GPU is not known. Every output token takes two
/// operations for each parameter that it uses, at the data sheet's rate for the fastest format.
pub(crate) fn beyond(
    catalogue: &Catalogue,
    model: &str,
    gpu: &str,
    gpus: u32,
    rate: f64,
) -> Option<String> {
    let card = catalogue.find(model)?;
    let gpu = GpuSpec::by_name(gpu)?;
    let peak = FAST
        .map(|format| gpu.tflops(format))
        .into_iter()
        .fold(0.0, f64::max)
        * 1e12;
    let most = peak * f64::from(gpus) / (2.0 * card.active_params.max(1.0));
    (rate > most).then(|| {
        let (model, name) = (&card.name, gpu.name);
        format!("implausible: {rate:.0} tokens/s of {model}, {gpus} x {name} have arithmetic for {most:.0}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_beyond_the_data_sheet_is_told() {
        let cards = Catalogue::built_in();
        let of = |model: &str, rate, gpus| beyond(&cards, model, "H200", gpus, rate);
        // 1,979 TFLOP/s over 2 x 70.6e9 operations a token: 14,025 tokens/s.
        assert_eq!(of("meta-llama/Llama-3.1-70B-Instruct", 14_000.0, 1), None);
        let reason = of("meta-llama/Llama-3.1-70B-Instruct", 999_999.0, 1).unwrap();
        assert!(
            reason.contains("1 x H200 have arithmetic for 14025"),
            "{reason}"
        );
        assert_eq!(of("meta-llama/Llama-3.1-70B-Instruct", 100_000.0, 8), None);
        assert_eq!(of("our/own-model", 999_999.0, 1), None);
    }
}
