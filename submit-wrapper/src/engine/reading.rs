//! From a page of metrics to the figures that windows are made of.
//!
//! Names of every engine and version stand in one table: they begin differently, so that nothing
//! is counted twice, and an engine that renames a metric needs one more word here. Counters are
//! found with and without `_total`; `_created` beside them holds a time and never matches.
//!
//! Several schedulers may answer behind one address. Those of tensor, pipeline and expert ranks hold the same requests, so
//! of them one counts; those of data-parallel ranks and engines hold requests of their own, so they add up. The usage of a
//! cache neither adds up nor may be averaged: the fullest one decides.

use std::borrow::Cow;
use std::collections::HashMap;

use super::prometheus::{Sample, samples};

/// Sum and count of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Total {
    /// Sum of the observed values, in the metric's unit.
    pub(crate) sum: f64,
    /// Number of observations.
    pub(crate) count: f64,
}

/// One look at an engine. Counters count since its start; `None` = the engine does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Seconds since the engine was started.
    pub(crate) at: f64,
    /// Requests in flight, running plus waiting.
    pub(crate) load: Option<f64>,
    /// KV-cache usage, 0 to 1; of the fullest engine where there are several.
    pub(crate) kv_usage: Option<f64>,
    /// Tokens put out.
    pub(crate) output_tokens: Option<f64>,
    /// Tokens of prompts.
    pub(crate) prompt_tokens: Option<f64>,
    /// Requests finished, aborted ones and errors not among them.
    pub(crate) requests: Option<f64>,
    /// Preemptions.
    pub(crate) preemptions: Option<f64>,
    /// Prompt tokens of finished requests.
    pub(crate) isl: Option<Total>,
    /// Output tokens of finished requests.
    pub(crate) osl: Option<Total>,
    /// Time to first token, s.
    pub(crate) ttft: Option<Total>,
    /// Time per output token, s.
    pub(crate) tpot: Option<Total>,
    /// End-to-end latency, s.
    pub(crate) e2e: Option<Total>,
    /// Durations of requests at the server in front of the engine, s.
    pub(crate) http: Option<Total>,
    /// Tokens of prompts that were looked up in the prefix cache.
    pub(crate) prefix_queries: Option<f64>,
    /// Those of them that it had.
    pub(crate) prefix_hits: Option<f64>,
    /// Tokens that were drafted.
    pub(crate) drafted: Option<f64>,
    /// Those of them that were accepted.
    pub(crate) accepted: Option<f64>,
    /// First tokens by time: upper end of each bucket, s, and how many came by then.
    pub(crate) ttft_buckets: Vec<(f64, f64)>,
    /// What the engine says of its cache: tokens, blocks, share of the memory.
    pub(crate) cache: [Option<f64>; 3],
    /// Power of the job's GPUs since the last look, W.
    pub(crate) power_w: Option<f64>,
    /// Memory in use on the fullest of them, GB.
    pub(crate) memory_gb: Option<f64>,
}

const RUNNING: &[&str] = &[
    "vllm:num_requests_running",
    "sglang:num_running_reqs",
    "trtllm_num_requests_running",
    "tgi_batch_current_size",
    // From the first look at a request to its last token, the queue included.
    "dynamo_frontend_inflight_requests",
];
const WAITING: &[&str] = &[
    "vllm:num_requests_waiting",
    "sglang:num_queue_reqs",
    "trtllm_num_requests_waiting",
    "tgi_queue_size",
];
/// Requests that were taken out of the batch for a while (vLLM's first engine).
const SWAPPED: &[&str] = &["vllm:num_requests_swapped"];
const KV_USAGE: &[&str] = &[
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "sglang:token_usage",
    "trtllm_kv_cache_utilization",
];
const OUTPUT_TOKENS: &[&str] = &[
    "vllm:generation_tokens",
    "sglang:generation_tokens",
    "trtllm_generation_tokens",
    "dynamo_frontend_output_tokens",
];
const PROMPT_TOKENS: &[&str] = &[
    "vllm:prompt_tokens",
    "sglang:prompt_tokens",
    "trtllm_prompt_tokens",
];
const REQUESTS: &[&str] = &[
    "vllm:request_success",
    "sglang:num_requests",
    "trtllm_request_success",
    "tgi_request_success",
    "dynamo_frontend_requests",
];
const PREEMPTIONS: &[&str] = &["vllm:num_preemptions", "sglang:num_retracted_requests"];
const PREFIX_QUERIES: &[&str] = &["vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries"];
const PREFIX_HITS: &[&str] = &[
    "vllm:prefix_cache_hits",
    "vllm:gpu_prefix_cache_hits",
    "sglang:cached_tokens",
];
const DRAFTED: &[&str] = &[
    "vllm:spec_decode_num_draft_tokens",
    "sglang:spec_num_draft_tokens",
];
const ACCEPTED: &[&str] = &[
    "vllm:spec_decode_num_accepted_tokens",
    "sglang:spec_num_accepted_tokens",
];
/// Labels of vLLM's settings of its cache: tokens, blocks, share of the memory.
const CACHE: &str = "vllm:cache_config_info";
const CACHE_LABELS: [&str; 3] = [
    "kv_cache_size_tokens",
    "num_gpu_blocks",
    "gpu_memory_utilization",
];
const ISL: &[&str] = &[
    "vllm:request_prompt_tokens",
    "tgi_request_input_length",
    "dynamo_frontend_input_sequence_tokens",
];
const OSL: &[&str] = &[
    "vllm:request_generation_tokens",
    "tgi_request_generated_tokens",
    "dynamo_frontend_output_sequence_tokens",
];
const TTFT: &[&str] = &[
    "vllm:time_to_first_token_seconds",
    "sglang:time_to_first_token_seconds",
    "trtllm_time_to_first_token_seconds",
    "dynamo_frontend_time_to_first_token_seconds",
];
/// The mean over requests first; the mean over tokens where there is no other.
const TPOT: &[&str] = &[
    "vllm:request_time_per_output_token_seconds",
    "vllm:inter_token_latency_seconds",
    "vllm:time_per_output_token_seconds",
    "sglang:request_time_per_output_token_seconds",
    "sglang:inter_token_latency_seconds",
    "sglang:time_per_output_token_seconds",
    "trtllm_time_per_output_token_seconds",
    "tgi_request_mean_time_per_token_duration",
    "dynamo_frontend_inter_token_latency_seconds",
];
const E2E: &[&str] = &[
    "vllm:e2e_request_latency_seconds",
    "sglang:e2e_request_latency_seconds",
    "trtllm_e2e_request_latency_seconds",
    "tgi_request_duration",
    "dynamo_frontend_request_duration_seconds",
];
/// Counted by the server in front of the engine, for every address that it has.
const HTTP: &str = "http_request_duration_seconds";
/// How addresses end at which tokens are generated.
const GENERATING: &[&str] = &["/completions", "/responses", "/messages", "/generate"];

impl Reading {
    /// Reads a page that was fetched `at` seconds after the engine's start.
    pub(crate) fn of_page(page: &str, at: f64) -> Self {
        let sums = Sums::of(page);
        let osl = sums.total(OSL);
        Self {
            at,
            load: sums.one(RUNNING).map(|running| {
                let others = [WAITING, SWAPPED].map(|names| sums.one(names).unwrap_or(0.0));
                running + others.iter().sum::<f64>()
            }),
            kv_usage: KV_USAGE.iter().find_map(|n| sums.most.get(n).copied()),
            output_tokens: sums.one(OUTPUT_TOKENS).or(osl.map(|t| t.sum)),
            prompt_tokens: sums.one(PROMPT_TOKENS),
            requests: sums.one(REQUESTS),
            preemptions: sums.one(PREEMPTIONS),
            isl: sums.total(ISL),
            osl,
            ttft: sums.total(TTFT),
            tpot: sums.total(TPOT),
            e2e: sums.total(E2E),
            http: sums.total(&[HTTP]),
            // SGLang looks every prompt up.
            prefix_queries: sums.one(PREFIX_QUERIES).or(sums.one(PROMPT_TOKENS)),
            prefix_hits: sums.one(PREFIX_HITS),
            drafted: sums.one(DRAFTED),
            accepted: sums.one(ACCEPTED),
            ttft_buckets: buckets(page),
            cache: cache(page),
            power_w: None,
            memory_gb: None,
        }
    }

    /// True where a counter is lower than before: the engine began anew.
    pub(crate) fn restarted_since(&self, before: &Self) -> bool {
        let fell = |now: Option<f64>, then: Option<f64>| matches!((now, then), (Some(n), Some(t)) if n < t);
        fell(self.output_tokens, before.output_tokens)
            || fell(self.prompt_tokens, before.prompt_tokens)
            || fell(self.requests, before.requests)
    }
}

/// The histogram of the time to the first token, over all engines.
fn buckets(page: &str) -> Vec<(f64, f64)> {
    let name = |s: &Sample| {
        let name = s.name.strip_suffix("_bucket");
        name.is_some_and(|n| TTFT.contains(&n))
    };
    let mut out: Vec<(f64, f64)> = Vec::new();
    for sample in samples(page).filter(name) {
        let Some(end) = sample.label("le").and_then(|le| le.parse::<f64>().ok()) else {
            continue;
        };
        match out.iter_mut().find(|(e, _)| *e == end) {
            Some((_, count)) => *count += sample.value,
            None => out.push((end, sample.value)),
        }
    }
    out.sort_by(|a, b| a.0.total_cmp(&b.0));
    out
}

fn cache(page: &str) -> [Option<f64>; 3] {
    let info = samples(page).find(|s| s.name == CACHE);
    CACHE_LABELS.map(|label| {
        let text = info.as_ref().and_then(|s| s.label(label));
        text.and_then(|t| t.parse().ok())
    })
}

/// Labels of ranks that work on the same requests: each tells all of them.
const COPIES: &[&str] = &[
    "tp_rank",
    "pp_rank",
    "ep_rank",
    "moe_ep_rank",
    "moe_tp_rank",
    "attn_tp_rank",
];

/// Values of a page by name, over the samples of all ranks and engines.
struct Sums<'a> {
    /// Of each rank and engine with requests of its own, summed.
    sum: HashMap<&'a str, f64>,
    /// Of the one with the highest.
    most: HashMap<&'a str, f64>,
}

impl<'a> Sums<'a> {
    fn of(page: &'a str) -> Self {
        // Of copies the latest: a rank may be one step behind.
        let mut apart: HashMap<(&str, Cow<'_, str>), f64> = HashMap::new();
        for sample in samples(page).filter(counts) {
            let own = sample.labels_without(COPIES);
            let value = apart.entry((sample.name, own)).or_insert(sample.value);
            *value = value.max(sample.value);
        }
        let (mut sum, mut most) = (HashMap::new(), HashMap::new());
        for ((name, _), value) in apart {
            *sum.entry(name).or_default() += value;
            let highest = most.entry(name).or_insert(value);
            *highest = f64::max(*highest, value);
        }
        Self { sum, most }
    }

    fn named(&self, name: &str) -> Option<f64> {
        self.sum.get(name).copied()
    }

    fn one(&self, names: &[&str]) -> Option<f64> {
        names
            .iter()
            .find_map(|n| self.named(n).or_else(|| self.named(&format!("{n}_total"))))
    }

    fn total(&self, names: &[&str]) -> Option<Total> {
        names.iter().find_map(|n| {
            Some(Total {
                sum: self.named(&format!("{n}_sum"))?,
                count: self.named(&format!("{n}_count"))?,
            })
        })
    }
}

/// Numbers of requests that were served; buckets are of no use here.
fn counts(sample: &Sample<'_>) -> bool {
    let given_up = matches!(sample.label("finished_reason"), Some("abort" | "error"))
        || sample.label("status") == Some("error");
    let elsewhere = sample.name.starts_with(HTTP)
        && !sample
            .label("handler")
            .is_some_and(|address| GENERATING.iter().any(|end| address.ends_with(end)));
    sample.value.is_finite() && !given_up && !elsewhere && !sample.name.ends_with("_bucket")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(name: &str) -> Reading {
        let path = format!(
            "{}/../tests/fixtures/engine/vllm/0.32.0/{name}.txt",
            env!("CARGO_MANIFEST_DIR")
        );
        Reading::of_page(&std::fs::read_to_string(path).unwrap(), 0.0)
    }

    #[test]
    fn a_real_page_under_load_is_read() {
        let r = capture("m-load");
        assert_eq!(
            (r.load, r.output_tokens, r.prompt_tokens),
            (Some(16.0), Some(3961.0), Some(2601.0))
        );
        assert_eq!((r.requests, r.preemptions), (Some(30.0), Some(0.0)));
        // 29 completions and a chat; neither the list of models nor a tokenisation.
        let http = r.http.unwrap();
        assert!((http.sum - 8.947_399_136).abs() < 1e-9 && http.count == 30.0);
        assert_eq!(
            r.isl,
            Some(Total {
                sum: 1953.0,
                count: 30.0
            })
        );
        assert_eq!(
            r.osl,
            Some(Total {
                sum: 3864.0,
                count: 30.0
            })
        );
        assert_eq!(r.ttft.unwrap().count, 38.0);
        assert_eq!(
            r.tpot,
            Some(Total {
                sum: 0.069_936_859_589_856_06,
                count: 30.0
            })
        );
        assert!((r.kv_usage.unwrap() - 0.000_488).abs() < 1e-6);
    }

    #[test]
    fn idle_after_load_and_preemption_pages_are_read() {
        assert_eq!(capture("m-idle").load, Some(0.0));
        assert_eq!(capture("m-idle").output_tokens, Some(0.0));
        assert_eq!(
            (capture("m-after").load, capture("m-after").requests),
            (Some(0.0), Some(22.0))
        );
        let r = capture("m-preempt");
        assert_eq!(
            (r.load, r.preemptions, r.kv_usage),
            (Some(7.0), Some(8.0), Some(1.0))
        );
    }

    /// Eight tensor ranks with the same 16 requests are 16 requests; with two data-parallel ranks of four each they are what
    /// those hold; SGLang's counters come once.
    #[test]
    fn ranks_with_the_same_requests_count_once_and_others_add_up() {
        let page = |dp: fn(usize) -> String, running: fn(usize) -> usize| {
            let of = |rank: usize| {
                let labels = format!(
                    "model_name=\"m\",moe_ep_rank=\"0\",pp_rank=\"0\",tp_rank=\"{rank}\"{}",
                    dp(rank)
                );
                let (n, tokens) = (running(rank), 100 * running(rank));
                format!(
                    "sglang:num_running_reqs{{{labels}}} {n}\nsglang:num_queue_reqs{{{labels}}} 1\n\
                     sglang:token_usage{{{labels}}} 0.{n}\nsglang:num_retracted_requests_total{{{labels}}} {tokens}\n"
                )
            };
            let all: String = (0..8).map(of).collect();
            Reading::of_page(
                &format!("{all}sglang:generation_tokens_total{{model_name=\"m\"}} 900\n"),
                0.0,
            )
        };
        let tensor = page(|_| String::new(), |_| 16);
        assert_eq!(
            (tensor.load, tensor.kv_usage, tensor.preemptions),
            (Some(17.0), Some(0.16), Some(1600.0))
        );
        let both = page(
            |rank| format!(",dp_rank=\"{}\"", rank / 4),
            |rank| if rank < 4 { 3 } else { 5 },
        );
        assert_eq!(
            (both.load, both.kv_usage, both.preemptions),
            (Some(10.0), Some(0.5), Some(800.0))
        );
        let attention = page(|rank| format!(",dp_rank=\"{rank}\""), |_| 2);
        assert_eq!(
            (attention.load, attention.output_tokens),
            (Some(24.0), Some(900.0))
        );
    }

    #[test]
    fn data_parallel_engines_add_up_but_their_caches_do_not() {
        let page = "vllm:num_requests_running{engine=\"0\"} 3\nvllm:num_requests_running{engine=\"1\"} 4\n\
                    vllm:generation_tokens{engine=\"0\"} 10\nvllm:generation_tokens{engine=\"1\"} 20\n\
                    vllm:generation_tokens_created{engine=\"1\"} 1.7e9\n\
                    vllm:gpu_cache_usage_perc{engine=\"0\"} 0.5\nvllm:gpu_cache_usage_perc{engine=\"1\"} 0.7\n\
                    vllm:request_success_total{engine=\"0\",finished_reason=\"stop\"} 2\n\
                    vllm:request_success_total{engine=\"0\",finished_reason=\"abort\"} 9\n";
        let r = Reading::of_page(page, 1.0);
        assert_eq!(
            (r.load, r.output_tokens, r.kv_usage, r.requests),
            (Some(7.0), Some(30.0), Some(0.7), Some(2.0))
        );
        assert_eq!((r.ttft, r.isl), (None, None));
    }
}
