//! An engine stand-in for demos and tests: see the module `standin` of the library.
//!
//! ```text
//! standin-engine serve MODEL [options of `vllm serve`]
//! ```
//!
//! | variable | meaning | else |
//! |---|---|---|
//! | `STANDIN_TOK_S` | output tokens a second over all requests | a formula over GPU, TP, precision and size |
//! | `STANDIN_GPU` | GPU type | `SLURM_LLM_GPU` |
//! | `STANDIN_PARAMS_B` | billions of parameters | from the model's name |
//! | `STANDIN_CONCURRENCY`, `STANDIN_ISL`, `STANDIN_OSL` | the load: requests in flight, prompt and output tokens of each | `SLURM_LLM_*` of the same name, then 32, 1000, 200 |
//! | `STANDIN_READY_S` | seconds from launch to readiness | 0.5 |
//! | `STANDIN_WARMUP_S` | seconds from readiness to the first answer to a request | 0 |
//! | `STANDIN_STOP_AFTER_S` | stop by itself that long after readiness | never |
//! | `STANDIN_FAIL` | `oom`, `kv`, `heads`, `never-ready`, `dies[:SECONDS]`, `exit:CODE`, `stuck` | do not fail |

use e2e::standin::{Settings, serve};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let code = match Settings::read(&arguments, |name| std::env::var(name).ok()) {
        Ok(settings) => serve(&settings),
        Err(error) => {
            eprintln!("{}", error.0);
            2
        }
    };
    std::process::exit(code);
}
