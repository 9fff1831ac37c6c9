//! An engine in steady state: how many sequences run, and what each waits, from one load.
//!
//! Everything that is answered about a load is read off one state, so the answers agree: with N
//! requests in flight, N = request rate x latency (J. Little, A Proof for the Queuing Formula
//! L = lambda W, 1961), and the latency is TTFT + (OSL - 1) x TPOT.
//!
//! Of one replica, with B sequences running, a request takes B prefills and OSL steps: its own
//! prefill and those of the others that are put between its steps.

use super::case::Workload;
use super::ops::{Machine, Split};
use super::run::Target;
use super::setup::Setup;
use super::stack::{PARTS, Stack, inner};

/// Tokens of prompts that one step takes (vLLM's and SGLang's default on large GPUs).
const CHUNK: f64 = 8192.0;

/// Sequences that an engine runs at once where nothing limits it: vLLM's default up to 0.8 and on
/// GPUs below 70 GiB, its default on larger ones since, TensorRT-LLM's largest batch.
const FEW_SEQUENCES: f64 = 256.0;
const MANY_SEQUENCES: f64 = 1024.0;
const MOST_SEQUENCES: f64 = 2048.0;

/// Sequences in flight where a load that is not offline names none.
const UNNAMED: f64 = 256.0;

/// Most sequences that a finite rate of arrivals keeps in flight.
const MOST_AT_A_RATE: f64 = 1024.0;

/// Arrivals above this rate (1/s) come all at once.
const ALL_AT_ONCE: f64 = 500.0;

/// Requests of a set that comes all at once, where the number is not stated: the default of vLLM's and
/// SGLang's own benchmarks.
const REQUESTS_OF_A_SET: f64 = 1000.0;

/// Decode steps that a first token waits for beside its prefill: the step under way, and those in
/// which the engine admits, samples and streams; and how many where nothing else runs.
const STEPS_OF_ADMISSION: f64 = 2.5;
const STEPS_ALONE: f64 = 0.5;

/// Share of what each sequence adds to a step that a set handed over in the process sees: no server
/// streams its tokens.
const WITHOUT_A_SERVER: f64 = 0.3;

/// Share of the server's own latency that a static batch sees: it is handed over in the process.
const STATIC_ARRIVAL: f64 = 0.03;

/// Steps of the search for the load that a rate keeps in flight.
const SEARCH: usize = 24;

/// One replica in steady state. Times in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Sequences that the load keeps in flight, running or waiting.
    pub asked: f64,
    /// Sequences that run.
    pub running: f64,
    /// Decode step, without prefills between.
    pub step_s: f64,
    /// Prefill of one request among many.
    pub prefill_s: f64,
    /// Prefill of one request that comes alone.
    pub alone_s: f64,
    /// Mean time to first token, what a request waits for a place included.
    pub ttft_s: f64,
    /// Mean time per output token after the first.
    pub tpot_s: f64,
    /// Requests/s of the replica under this load.
    pub req_s: f64,
    /// Requests/s of the replica if arrivals do not limit it.
    pub most_req_s: f64,
    /// What a request waits for a place.
    pub queue_s: f64,
    /// How the logarithms of throughput, TTFT and TPOT move with those of the stack's numbers.
    pub pulls: [[f32; PARTS]; 3],
}

/// Times of one replica with so many running.
#[derive(Clone, Copy, Default)]
struct Busy {
    step: Split,
    step_s: f64,
    prefill_s: f64,
    ttft_s: f64,
    latency_s: f64,
}

/// A replica under a load, before the number in flight is known.
struct Replica<'a> {
    s: &'a Setup<'a>,
    machine: Machine<'a>,
    stack: Stack,
    /// Steps after the first token.
    later: f64,
    stages: f64,
    /// The engine itself, where its name is that of what serves it.
    inner: &'a str,
    alone: Split,
    alone_s: f64,
}

/// The state of one replica of `replicas`, into whose memory `capacity` sequences fit.
pub fn state(s: &Setup, replicas: f64, capacity: f64) -> State {
    let stack = Stack::of(s.engine, s.engine_version);
    Replica::of(s, stack).state(replicas, capacity)
}

impl<'a> Replica<'a> {
    fn of(s: &'a Setup<'a>, mut stack: Stack) -> Self {
        if s.workload == Workload::Offline {
            stack.each_sequence *= WITHOUT_A_SERVER;
        }
        let machine = Machine::of(s);
        let alone = machine.prefill(1.0, s.isl, CHUNK);
        Self {
            alone_s: of_prefill(&stack, alone),
            alone,
            machine,
            stack,
            later: (s.osl - 1.0).max(0.0),
            stages: f64::from(s.pp.max(1)),
            inner: inner(s.engine, s.engine_version),
            s,
        }
    }

    /// Steps that a first token waits for where so many run.
    fn steps_of_admission(&self, running: f64) -> f64 {
        let alone = 1.0 / running.max(1.0);
        STEPS_OF_ADMISSION + (STEPS_ALONE - STEPS_OF_ADMISSION) * alone
    }

    fn is_static(&self) -> bool {
        self.s.workload == Workload::Static
    }

    /// Prefill of one request among `running`: as many prompts together as a chunk takes.
    fn prefill(&self, running: f64) -> Split {
        let together = (CHUNK / self.s.isl).floor().clamp(1.0, running.max(1.0));
        if together <= 1.0 {
            return self.alone;
        }
        let all = self.machine.prefill(together, self.s.isl, CHUNK);
        Split {
            rest: all.rest / together,
            experts: all.experts / together,
        }
    }

    fn busy(&self, running: f64, prefill: Split) -> Busy {
        let stack = &self.stack;
        let in_stage = (running / self.stages).max(1.0);
        let step = self.machine.decode(in_stage, self.s.isl + self.s.osl / 2.0);
        let step_s = stack.step * (step.rest + stack.experts * step.experts)
            + stack.each_step
            + stack.each_sequence * running;
        let prefill_s = of_prefill(stack, prefill) / self.stages;
        let worked = running * prefill_s + self.s.osl * step_s;
        let ttft_s = if self.is_static() {
            running * prefill_s + STATIC_ARRIVAL * stack.arrival
        } else {
            stack.arrival
                + self.steps_of_admission(running) * step_s
                + self.alone_s
                + stack.bunching * (running - 1.0).max(0.0) * prefill_s
        };
        Busy {
            step,
            step_s,
            prefill_s,
            ttft_s,
            latency_s: worked.max(ttft_s + self.later * step_s),
        }
    }

    /// Sequences that the engine runs at most, memory aside.
    fn most_sequences(&self) -> f64 {
        if self.inner != "vllm" {
            return MOST_SEQUENCES;
        }
        let recent = super::stack::released(self.s.engine, self.s.engine_version)
            .is_none_or(|year| year > 2025.2);
        let large = self.s.gpu.memory_gib > 70.0 && self.s.gpu.capability >= 90;
        if recent && large {
            MANY_SEQUENCES
        } else {
            FEW_SEQUENCES
        }
    }

    fn state(&self, replicas: f64, capacity: f64) -> State {
        let limit = capacity.min(self.most_sequences()).max(1.0);
        let prefill = self.prefill(limit);
        let rate = self.s.rate.filter(|r| *r < ALL_AT_ONCE);
        let arriving = rate.map(|r| r / replicas);
        let (asked, busy) = match (self.s.concurrency, arriving) {
            (Some(stated), _) => {
                let asked = (stated / replicas).max(1.0);
                let running = asked.min(limit);
                (asked, self.busy(running, self.prefill(running)))
            }
            (None, Some(rate)) => self.at_a_rate(rate, limit.min(MOST_AT_A_RATE), prefill),
            (None, None) => {
                let saturated = self.s.workload == Workload::Offline;
                let asked = if saturated {
                    self.most_sequences()
                } else {
                    UNNAMED
                };
                let asked = (asked / replicas).max(1.0);
                (asked, self.busy(asked.min(limit), prefill))
            }
        };
        self.told(asked, asked.min(limit), busy, arriving)
    }

    /// What a rate keeps in flight: the number at which as many leave as come, by halving.
    fn at_a_rate(&self, rate: f64, limit: f64, prefill: Split) -> (f64, Busy) {
        let most = self.busy(limit, prefill);
        if limit / most.latency_s <= rate {
            return (limit, most);
        }
        let (mut low, mut high) = (0.0_f64, limit.ln());
        let mut found = most;
        for _ in 0..SEARCH {
            let middle = (low + high) / 2.0;
            found = self.busy(middle.exp(), prefill);
            if middle.exp() / found.latency_s < rate {
                low = middle;
            } else {
                high = middle;
            }
            if high - low < 1e-3 {
                break;
            }
        }
        (high.exp(), found)
    }

    /// How much of the steady rate (requests/s) a finite set reaches that comes all at once. Its last
    /// requests run out one by one: with outputs of exponential length, as conversations have, the last B of
    /// them take ln B - 1 lengths of the shortest step longer than in the steady state. Outputs of one set
    /// length end together. TensorRT-LLM's published rates are of sets so large that neither shows.
    fn of_a_set(&self, running: f64, rate: f64) -> f64 {
        let set = |length: f64| length.fract() == 0.0;
        let even = set(self.s.osl) && set(self.s.isl) && !self.s.assumed[1];
        let offline = self.s.workload == Workload::Offline;
        if !offline || even || self.inner == "tensorrt-llm" {
            return 1.0;
        }
        let alone = self.busy(1.0, self.alone).step_s;
        let longer = self.s.osl * alone * (running.max(1.0).ln() - 1.0).max(0.0);
        1.0 / (1.0 + longer * rate / REQUESTS_OF_A_SET)
    }

    fn told(&self, asked: f64, running: f64, busy: Busy, arriving: Option<f64>) -> State {
        let steady = running / busy.latency_s;
        let most_req_s = steady * self.of_a_set(running, steady);
        let req_s = arriving.map_or(most_req_s, |rate| rate.min(most_req_s));
        // Those that do not fit wait until as many have left; of more than can be served the queue
        // grows as long as the requests last.
        let behind = arriving.map_or(0.0, |rate| {
            REQUESTS_OF_A_SET / 2.0 * (1.0 / most_req_s - 1.0 / rate).max(0.0)
        });
        let queue_s = (asked - running).max(0.0) / most_req_s + behind;
        let later = self.later.max(1e-9);
        let tpot_s = if self.later < 0.5 {
            busy.step_s
        } else {
            (busy.latency_s - busy.ttft_s) / later
        };
        State {
            asked,
            running,
            step_s: busy.step_s,
            prefill_s: busy.prefill_s,
            alone_s: self.alone_s,
            ttft_s: busy.ttft_s.min(busy.latency_s) + queue_s,
            tpot_s,
            req_s,
            most_req_s,
            queue_s,
            pulls: self.pulls(running, &busy),
        }
    }

    /// Shares of each of the stack's numbers in latency and TTFT, and what they make of TPOT.
    fn pulls(&self, running: f64, busy: &Busy) -> [[f32; PARTS]; 3] {
        let stack = &self.stack;
        let osl = self.s.osl;
        let kernels = stack.step * busy.step.rest;
        let experts = stack.step * stack.experts * busy.step.experts;
        let in_prefill = {
            let wide = self.alone.rest + stack.experts * self.alone.experts;
            stack.experts * self.alone.experts / wide.max(1e-12)
        };
        let prefills = running * busy.prefill_s;
        let of_step = |by: f64| {
            [
                0.0,
                by * (kernels + experts),
                by * experts,
                by * stack.each_step,
                by * stack.each_sequence * running,
                0.0,
                0.0,
            ]
        };
        let mut latency = of_step(osl);
        latency[0] += prefills;
        latency[2] += prefills * in_prefill;
        let mut ttft = of_step(if self.is_static() {
            0.0
        } else {
            self.steps_of_admission(running)
        });
        if self.is_static() {
            ttft[0] += prefills;
            ttft[2] += prefills * in_prefill;
            ttft[5] += STATIC_ARRIVAL * stack.arrival;
        } else {
            let bunched = stack.bunching * (running - 1.0).max(0.0) * busy.prefill_s;
            ttft[0] += self.alone_s + bunched;
            ttft[2] += (self.alone_s + bunched) * in_prefill;
            ttft[5] += stack.arrival;
            ttft[6] += bunched;
        }
        let rest = (busy.latency_s - busy.ttft_s).max(self.later * busy.step_s * 0.5);
        let mut out = [[0.0; PARTS]; 3];
        for (at, (whole, first)) in latency.iter().zip(&ttft).enumerate() {
            let [throughput, to_first, per_token] = &mut out;
            let values = [
                (throughput, -whole / busy.latency_s),
                (to_first, first / busy.ttft_s.max(1e-9)),
                (per_token, (whole - first) / rest.max(1e-9)),
            ];
            for (row, value) in values {
                if let Some(cell) = row.get_mut(at) {
                    *cell = value.clamp(-3.0, 3.0) as f32;
                }
            }
        }
        out
    }
}

fn of_prefill(stack: &Stack, split: Split) -> f64 {
    stack.prefill * (split.rest + stack.experts * split.experts)
}

impl State {
    /// How the logarithm of a target moves with those of the stack's numbers; zeros for a target
    /// that is none of the load's.
    pub fn pulls_on(&self, target: Target) -> [f32; PARTS] {
        let [throughput, ttft, tpot] = self.pulls;
        match target {
            Target::OutputTokS | Target::ReqS => throughput,
            Target::TtftMs => ttft,
            Target::TpotMs => tpot,
            _ => [0.0; PARTS],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physics::physics;
    use crate::{Case, Catalogue, GPUS, Precision, Variant};
    use proptest::prelude::*;

    fn case(model: &str, gpu: &str, tp: u32) -> Case {
        Case {
            model: model.into(),
            params_b: None,
            active_params_b: None,
            gpu: gpu.into(),
            gpu_mem_gb: None,
            tp: Some(tp),
            pp: 1,
            dp: 1,
            precision: Some(Precision::Bf16),
            kv_precision: None,
            isl: Some(1000.0),
            osl: Some(1000.0),
            workload: Workload::ClosedLoop,
            concurrency: Some(64.0),
            request_rate: None,
            engine: "vllm".into(),
            engine_version: String::new(),
            variant: Variant::default(),
        }
    }

    /// Llama-3.1-8B, bf16, one H100, 64 in flight, 1,000 tokens in and out: vLLM and its like deliver
    /// 5,000 to 6,500 tokens/s on such a GPU, and the step reads 16 GB of weights and 8 GB of cache
    /// at 3.35 TB/s, 7 ms.
    #[test]
    fn a_plain_case_lies_where_everybody_measures_it() {
        let catalogue = Catalogue::built_in();
        let case = case("meta-llama/Llama-3.1-8B-Instruct", "H100-SXM", 1);
        let s = Setup::of_case(&case, "", &catalogue).unwrap();
        let p = physics(&s);
        let tokens = p.estimate(&s, Target::OutputTokS);
        assert!((4500.0..6500.0).contains(&tokens), "{tokens}");
        assert!(
            (7.5e-3..15e-3).contains(&p.state.tpot_s),
            "{}",
            p.state.tpot_s
        );
    }

    fn load() -> impl Strategy<Value = (Workload, Option<f64>, Option<f64>)> {
        let many = prop::option::of(1.0..3000.0f64);
        let rate = prop::option::of(0.01..300.0f64);
        (prop::sample::select(Workload::ALL.to_vec()), many, rate)
    }

    proptest! {
        /// In flight = throughput x latency, whatever is asked.
        #[test]
        fn littles_law_holds_between_the_answers(
            model in any::<prop::sample::Index>(), gpu in any::<prop::sample::Index>(), tp in 0u32..4, dp in 1u32..3,
            format in prop::sample::select(Precision::ALL.to_vec()),
            isl in 1.0..60_000.0f64, osl in 2.0..8000.0f64, in_flight in 1.0..3000.0f64,
            workload in prop::sample::select(vec![Workload::ClosedLoop, Workload::Static]),
        ) {
            let catalogue = Catalogue::built_in();
            let case = Case {
                precision: Some(format),
                isl: Some(isl),
                osl: Some(osl),
                dp,
                workload,
                concurrency: Some(in_flight),
                ..case(&model.get(catalogue.cards()).name, gpu.get(&GPUS).name, 1 << tp)
            };
            let s = Setup::of_case(&case, "", &catalogue).unwrap();
            let p = physics(&s);
            let of = |t| p.estimate(&s, t);
            let latency = (of(Target::TtftMs) + (osl - 1.0) * of(Target::TpotMs)) / 1e3;
            let counted = of(Target::OutputTokS) / osl * latency;
            let asked = in_flight.max(p.replicas);
            prop_assert!((counted / asked - 1.0).abs() < 0.01, "{counted} {asked}");
        }

        #[test]
        fn every_load_has_a_state_of_finite_numbers(
            model in any::<prop::sample::Index>(), gpu in any::<prop::sample::Index>(), tp in 0u32..4,
            (workload, concurrency, request_rate) in load(), isl in 1.0..60_000.0f64, osl in 1.0..8000.0f64,
        ) {
            let catalogue = Catalogue::built_in();
            let case = Case {
                isl: Some(isl),
                osl: Some(osl),
                workload,
                concurrency,
                request_rate,
                ..case(&model.get(catalogue.cards()).name, gpu.get(&GPUS).name, 1 << tp)
            };
            let s = Setup::of_case(&case, "", &catalogue).unwrap();
            let state = physics(&s).state;
            let times = [
                state.asked, state.running, state.step_s, state.prefill_s, state.alone_s, state.ttft_s, state.tpot_s, state.req_s,
            ];
            prop_assert!(times.iter().all(|t| t.is_finite() && *t > 0.0), "{state:?}");
            if let Some(rate) = request_rate {
                prop_assert!(state.req_s <= rate * 1.01, "{state:?}");
            }
            prop_assert!(state.pulls.iter().flatten().all(|x| x.is_finite()), "{state:?}");
        }
    }
}
