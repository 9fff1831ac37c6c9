//! Ways to fail, with the text that tells them apart.

use std::fmt;
use std::time::Duration;

use super::{Settings, UsageError};

/// How the stand-in fails; the value of `STANDIN_FAIL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `oom`: the weights do not fit into the GPU's memory; exit code 1. The text is PyTorch's; it was not captured here.
    OutOfMemory,
    /// `kv`: no room for one request of the longest length; exit code 1.
    KvCache,
    /// `heads`: the attention heads are not divisible by the tensor-parallel degree; exit code 1.
    Heads,
    /// `never-ready`: lives on, and refuses every connection.
    NeverReady,
    /// `dies` or `dies:SECONDS`: a worker dies that long after readiness; exit code **0**, as vLLM does it.
    Dies(Duration),
    /// `exit:CODE`: ends at once with this code and no word of why.
    Exit(i32),
    /// `stuck`: the first SIGTERM has no effect, the second one ends it.
    Stuck,
}

impl Failure {
    /// Reads the value of `STANDIN_FAIL`.
    pub fn parse(text: &str) -> Result<Self, UsageError> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let unknown = || {
            UsageError(format!(
                "STANDIN_FAIL: not known: {text} (oom, kv, heads, never-ready, dies[:SECONDS], exit:CODE, stuck)"
            ))
        };
        match name {
            "oom" => Ok(Self::OutOfMemory),
            "kv" => Ok(Self::KvCache),
            "heads" => Ok(Self::Heads),
            "never-ready" => Ok(Self::NeverReady),
            "dies" if value.is_empty() => Ok(Self::Dies(Duration::from_secs(1))),
            "dies" => value
                .parse()
                .map(|seconds| {
                    Self::Dies(Duration::from_millis(
                        (1000.0 * f64::max(seconds, 0.0)) as u64,
                    ))
                })
                .map_err(|_| unknown()),
            "exit" => value.parse().map(Self::Exit).map_err(|_| unknown()),
            "stuck" => Ok(Self::Stuck),
            _ => Err(unknown()),
        }
    }

    /// For a failure before readiness: what is written to standard error, and the exit code.
    pub fn at_start(&self, settings: &Settings) -> Option<(String, i32)> {
        let cause = match self {
            Self::OutOfMemory => "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 896.00 MiB. GPU 0 has a total capacity of \
                79.25 GiB of which 412.94 MiB is free. Including non-PyTorch memory, this process has 78.83 GiB memory in use."
                .to_owned(),
            Self::KvCache => "ValueError: To serve at least one request with the model's max seq len (131072), (40.0 GiB KV cache is needed, \
                which is larger than the available KV cache memory (9.3 GiB). Based on the available memory, the estimated maximum model \
                length is 30464. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
                .to_owned(),
            Self::Heads => return Some((Heads(settings.tensor_parallel).to_string(), 1)),
            Self::Exit(code) => return Some((String::new(), *code)),
            _ => return None,
        };
        Some((engine_failure(&cause), 1))
    }
}

struct Heads(u32);
impl fmt::Display for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  Value error, Total number of attention heads (64) must be divisible by tensor parallel size ({}).",
            self.0
        )
    }
}

/// The cause in the engine core's log, then the general last words that follow every failed start.
fn engine_failure(cause: &str) -> String {
    let pid = std::process::id();
    format!(
        "(EngineCore pid={pid}) ERROR 11-23 04:40:00 [core.py:1510] EngineCore failed to start.\n\
         (EngineCore pid={pid}) ERROR 11-23 04:40:00 [core.py:1510] {cause}\n\
         RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{'EngineCore': 1}}"
    )
}

/// What is logged when a worker dies under a running engine.
pub(super) fn death() -> String {
    let pid = std::process::id();
    format!(
        "(EngineCore pid={pid}) ERROR 11-23 04:40:00 [multiproc_executor.py:315] Worker proc VllmWorker-0 died unexpectedly (exit code: None), shutting down executor.\n\
         (EngineCore pid={pid}) ERROR 11-23 04:40:00 [core.py:1510] EngineCore encountered a fatal error.\n\
         (APIServer pid={pid}) ERROR 11-23 04:40:00 [async_llm.py:906] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause."
    )
}
