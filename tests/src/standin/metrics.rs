//! The text of `/metrics`, in the Prometheus exposition format, with vLLM 0.32.0's names, labels and buckets.

use std::fmt::{self, Write};

use super::Load;
use super::load::KV_TOKENS;

const BLOCK: f64 = 16.0;
const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];
const BETWEEN_TOKENS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];
const WHOLE_REQUEST: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];
const TOKENS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0,
    50000.0, 100_000.0, 200_000.0,
];
/// The middles of ten equally likely parts of a bell curve with a spread of 12 %: what a mean is spread to in histograms.
const SPREAD: [f64; 10] = [
    0.803, 0.876, 0.919, 0.954, 0.985, 1.015, 1.046, 1.081, 1.124, 1.197,
];

/// The page at a moment. `created` is when the counters began, as Unix time.
pub fn metrics(model: &str, load: &Load, created: f64) -> String {
    let mut page = Page {
        text: String::with_capacity(16384),
        model: escape(model),
        created,
    };
    // Writing into a string cannot fail.
    let _ = page.all(load);
    page.text
}

struct Page {
    text: String,
    model: String,
    created: f64,
}

impl Page {
    fn all(&mut self, load: &Load) -> fmt::Result {
        self.process()?;
        self.gauges(load)?;
        self.counters(load)?;
        self.histograms(load)
    }

    /// A client library's families come first on a real page: readers must pass over them.
    fn process(&mut self) -> fmt::Result {
        let created = number(self.created);
        writeln!(
            self.text,
            "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds."
        )?;
        writeln!(
            self.text,
            "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {created}"
        )
    }

    fn gauges(&mut self, load: &Load) -> fmt::Result {
        self.head(
            "num_requests_running",
            "gauge",
            "Number of requests in model execution batches.",
        )?;
        self.sample("num_requests_running", "", load.running)?;
        self.head(
            "num_requests_waiting",
            "gauge",
            "Number of requests waiting to be processed.",
        )?;
        self.sample("num_requests_waiting", "", 0.0)?;
        self.head(
            "kv_cache_usage_perc",
            "gauge",
            "KV-cache usage. 1 means 100 percent usage.",
        )?;
        self.sample("kv_cache_usage_perc", "", load.kv_usage)?;
        self.cache_config()
    }

    fn cache_config(&mut self) -> fmt::Result {
        let blocks = (KV_TOKENS / BLOCK) as u64;
        self.head(
            "cache_config_info",
            "gauge",
            "Information of the LLMEngine CacheConfig",
        )?;
        writeln!(
            self.text,
            "vllm:cache_config_info{{block_size=\"{BLOCK}\",cache_dtype=\"auto\",enable_prefix_caching=\"False\",engine=\"0\",\
             gpu_memory_utilization=\"0.92\",kv_cache_size_tokens=\"{KV_TOKENS}\",num_gpu_blocks=\"{blocks}\"}} 1.0"
        )
    }

    fn counters(&mut self, load: &Load) -> fmt::Result {
        self.counter(
            "num_preemptions",
            "Cumulative number of preemption from the engine.",
            0.0,
        )?;
        self.counter(
            "prompt_tokens",
            "Number of prefill tokens processed.",
            load.prompt_tokens,
        )?;
        self.counter(
            "generation_tokens",
            "Number of generation tokens processed.",
            load.generation_tokens,
        )?;
        self.finished_requests(load.finished)
    }

    /// As on a real page: all finished with `length`, and a sample for each other reason.
    fn finished_requests(&mut self, finished: f64) -> fmt::Result {
        let help = "Count of successfully processed requests.";
        for (name, kind) in [
            ("request_success_total", "counter"),
            ("request_success_created", "gauge"),
        ] {
            self.head(name, kind, help)?;
            for reason in ["stop", "length", "abort", "error", "repetition"] {
                let count = if reason == "length" { finished } else { 0.0 };
                let value = if kind == "gauge" { self.created } else { count };
                self.sample(name, &format!("finished_reason=\"{reason}\","), value)?;
            }
        }
        Ok(())
    }

    fn histograms(&mut self, load: &Load) -> fmt::Result {
        let per_request = load.latency.max(f64::MIN_POSITIVE);
        let output = load.generation_tokens / (load.begun.max(1.0));
        let prompt = load.prompt_tokens / load.begun.max(1.0);
        let gaps = (load.generation_tokens - load.answered).max(0.0);
        let each = if load.finished > 0.0 {
            load.generation_tokens / (load.finished + load.running / 2.0)
        } else {
            output
        };
        self.histogram(
            "request_prompt_tokens",
            "Number of prefill tokens processed.",
            TOKENS,
            load.finished,
            prompt,
            false,
        )?;
        self.histogram(
            "request_generation_tokens",
            "Number of generation tokens processed.",
            TOKENS,
            load.finished,
            each.round(),
            false,
        )?;
        self.histogram(
            "time_to_first_token_seconds",
            "Histogram of time to first token in seconds.",
            FIRST_TOKEN,
            load.answered,
            load.ttft,
            true,
        )?;
        self.histogram(
            "inter_token_latency_seconds",
            "Histogram of inter-token latency in seconds.",
            BETWEEN_TOKENS,
            gaps,
            load.tpot,
            true,
        )?;
        self.histogram(
            "request_time_per_output_token_seconds",
            "Histogram of time_per_output_token_seconds per request.",
            BETWEEN_TOKENS,
            load.finished,
            load.tpot,
            true,
        )?;
        self.histogram(
            "e2e_request_latency_seconds",
            "Histogram of e2e request latency in seconds.",
            WHOLE_REQUEST,
            load.finished,
            per_request,
            true,
        )
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(
            self.text,
            "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}"
        )
    }

    /// One line; `label` is empty or ends with a comma, and sorts between `engine` and `model_name`.
    fn sample(&mut self, name: &str, label: &str, value: f64) -> fmt::Result {
        let model = &self.model;
        writeln!(
            self.text,
            "vllm:{name}{{engine=\"0\",{label}model_name=\"{model}\"}} {}",
            number(value)
        )
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.head(&format!("{name}_total"), "counter", help)?;
        self.sample(&format!("{name}_total"), "", value)?;
        self.created(name, help)
    }

    fn created(&mut self, name: &str, help: &str) -> fmt::Result {
        self.head(&format!("{name}_created"), "gauge", help)?;
        self.sample(&format!("{name}_created"), "", self.created)
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[f64],
        count: f64,
        mean: f64,
        spread: bool,
    ) -> fmt::Result {
        self.head(name, "histogram", help)?;
        for bound in bounds {
            let below = (count * share_below(*bound, mean, spread)).floor();
            self.sample(
                &format!("{name}_bucket"),
                &format!("le=\"{}\",", number(*bound)),
                below,
            )?;
        }
        self.sample(&format!("{name}_bucket"), "le=\"+Inf\",", count)?;
        self.sample(&format!("{name}_count"), "", count)?;
        self.sample(&format!("{name}_sum"), "", count * mean)?;
        self.created(name, help)
    }
}

/// Which part of the observations around a mean is not above a bound.
fn share_below(bound: f64, mean: f64, spread: bool) -> f64 {
    if !spread {
        return if mean <= bound { 1.0 } else { 0.0 };
    }
    SPREAD
        .iter()
        .filter(|factor| mean * **factor <= bound)
        .count() as f64
        / SPREAD.len() as f64
}

/// As Python prints a float: `8.0`, `0.005`, `1.7954081378550997e+09`.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() >= 1e9 {
        let text = format!("{value:e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        let point = if digits.contains('.') { "" } else { ".0" };
        return format!("{digits}{point}e+{power:0>2}");
    }
    if value.fract() == 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value}")
    }
}

fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_like_pythons() {
        let texts = [0.0, 8.0, 0.005, 3961.0, 1.7954081378550997e9, 2e9].map(number);
        assert_eq!(
            texts,
            [
                "0.0",
                "8.0",
                "0.005",
                "3961.0",
                "1.7954081378550997e+09",
                "2.0e+09"
            ]
        );
    }

    #[test]
    fn buckets_never_fall() {
        let shares: Vec<f64> = FIRST_TOKEN
            .iter()
            .map(|bound| share_below(*bound, 0.06, true))
            .collect();
        assert!(
            shares.is_sorted() && shares[0] == 0.0 && shares[21] == 1.0,
            "{shares:?}"
        );
    }
}
