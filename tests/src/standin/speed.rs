//! How fast the stand-in pretends to be.

/// A made-up serving speed that has the right shape: it grows with memory bandwidth, falls with model size and bytes per weight,
/// and gains less from each further GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// GPU type by any name that contains `a100`, `h100` or `h200`.
    pub gpu: String,
    /// Tensor-parallel degree.
    pub tensor_parallel: f64,
    /// What `--quantization` or `--dtype` says.
    pub precision: String,
    /// Parameters of the model.
    pub parameters: f64,
    /// Requests in flight.
    pub concurrency: f64,
}

impl Speed {
    /// Output tokens a second over all requests:
    ///
    /// `T = C / (W / (0.6 B N) + 2 P C / (0.4 F N) + 0.004 s + 0.0015 s log2 N)`
    ///
    /// with C requests in flight, W bytes of weights, P parameters, N GPUs, B bytes/s and F operations/s of one GPU: the time
    /// to read the weights once, to compute a token for each request, a fixed cost, and the cost of talking between GPUs.
    /// The form is the roofline of one decoding step; the two efficiencies and the two fixed times are invented.
    pub fn tokens_per_second(&self) -> f64 {
        let (bandwidth, operations) = self.gpu_figures();
        let n = self.tensor_parallel.max(1.0);
        let read = self.parameters * self.bytes_per_parameter() / (0.6 * bandwidth * n);
        let compute = 2.0 * self.parameters * self.concurrency / (0.4 * operations * n);
        self.concurrency / (read + compute + 0.004 + 0.0015 * n.log2())
    }

    /// Memory bandwidth in bytes/s and dense 16-bit operations/s from the makers' data sheets.
    fn gpu_figures(&self) -> (f64, f64) {
        let gpu = self.gpu.to_lowercase();
        match () {
            () if gpu.contains("h200") => (4.8e12, 989e12),
            () if gpu.contains("h100") => (3.35e12, 989e12),
            () => (2.0e12, 312e12),
        }
    }

    fn bytes_per_parameter(&self) -> f64 {
        match self.precision.as_str() {
            "fp8" | "int8" | "w8a8" => 1.0,
            "awq" | "gptq" | "int4" | "w4a16" | "awq_marlin" | "gptq_marlin" => 0.5,
            _ => 2.0,
        }
    }
}

/// Parameters from a model's name, as `70B` or `8x7B` say it; 8 billion where the name is silent.
pub fn parameters_of(model: &str) -> f64 {
    let words = model.split(['-', '_', '/', ' ']);
    words.filter_map(billions).next_back().unwrap_or(8.0) * 1e9
}

fn billions(word: &str) -> Option<f64> {
    let number = word.strip_suffix(['B', 'b'])?;
    match number.split_once('x') {
        Some((experts, size)) => Some(experts.parse::<f64>().ok()? * size.parse::<f64>().ok()?),
        None => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(gpu: &str, tensor_parallel: f64, precision: &str) -> f64 {
        let parameters = parameters_of("meta-llama/Llama-3.1-70B-Instruct");
        Speed {
            gpu: gpu.into(),
            tensor_parallel,
            precision: precision.into(),
            parameters,
            concurrency: 32.0,
        }
        .tokens_per_second()
    }

    #[test]
    fn names_tell_sizes() {
        assert_eq!(parameters_of("meta-llama/Llama-3.1-70B-Instruct"), 70e9);
        assert_eq!(parameters_of("Mixtral-8x7B-v0.1"), 56e9);
        assert_eq!(parameters_of("gpt2"), 8e9);
    }

    #[test]
    fn better_hardware_is_faster() {
        assert!(speed("a100", 4.0, "auto") < speed("h100", 4.0, "auto"));
        assert!(speed("h100", 4.0, "auto") < speed("h200", 4.0, "auto"));
        assert!(speed("h100", 4.0, "auto") < speed("h100", 4.0, "fp8"));
    }

    #[test]
    fn twice_the_gpus_are_less_than_twice_as_fast() {
        let gain = speed("h100", 8.0, "auto") / speed("h100", 4.0, "auto");
        assert!((1.2..2.0).contains(&gain), "{gain}");
    }
}
