//! The measured runs of other laboratories that a new store starts from, compiled in.

use std::io::Read;

use flate2::read::GzDecoder;

use super::runs_csv::{self, Defaults, RowError};
use crate::advisor::{Origin, Run};

/// One published table of measured runs.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// Name of the source, as each of its runs carries it.
    pub source: &'static str,
    /// Where it was published.
    pub reference: &'static str,
    /// Its licence, as SPDX writes it.
    pub licence: &'static str,
    table: &'static [u8],
}

/// One row a source: its name, where it was published, its licence. The file is named after it.
macro_rules! evidence {
    ($($source:literal, $reference:literal, $licence:literal;)*) => {
        &[$(Evidence {
            source: $source,
            reference: $reference,
            licence: $licence,
            table: include_bytes!(concat!("../data/evidence/", $source, ".csv.gz")),
        }),*]
    };
}

/// Every table that the product carries. `data/evidence/README.md` says what each holds.
pub const EVIDENCE: &[Evidence] = evidence! {
    "aic_silicon_gap", "ai-dynamo/aiconfigurator@095f58a51c4c", "Apache-2.0";
    "aic_silicon_inferencex", "ai-dynamo/aiconfigurator@095f58a51c4c", "Apache-2.0";
    "argonne_bench", "argonne-lcf/LLM-Inference-Bench@4211f5d4e9bc", "BSD-3-Clause";
    "bitsandbytes_bench", "bitsandbytes-foundation/bitsandbytes@95f9af309d4d", "MIT";
    "dstack_bench", "dstackai/benchmarks@06c957ab5157", "Apache-2.0";
    "ibm_llm_pilot", "IBM/LLM-performance-prediction@3c66483f55d7", "CDLA-Permissive-2.0";
    "lmdeploy_docs", "InternLM/lmdeploy@379a2d5a687e", "Apache-2.0";
    "mlenergy_v2", "ml-energy/leaderboard-v2@c3af7f31e231", "Apache-2.0";
    "mlperf_v51", "mlcommons/inference_results_v5.1@965182b03376", "Apache-2.0";
    "premai_bench", "premAI-io/benchmarks@16338c31085d", "MIT";
    "qserve_readme", "mit-han-lab/omniserve@02b2925aa6fa", "Apache-2.0";
    "splitwise_sim", "Mutinifni/splitwise-sim@8f99e7dc9b40", "MIT";
    "trtllm_docs", "NVIDIA/TensorRT-LLM", "Apache-2.0";
};

impl Evidence {
    /// The runs of this table. They were measured on other clusters; `source_ref` of each says
    /// where it was published.
    ///
    /// # Errors
    /// None in a program whose tests have passed: the tables are part of it.
    pub fn runs(&self) -> Result<Vec<Run>, RowError> {
        let defaults = Defaults {
            origin: Origin::OtherCluster,
            source: self.source.into(),
        };
        read(GzDecoder::new(self.table), defaults)
    }
}

/// Reads a whole table that is part of the program.
pub(super) fn read(table: impl Read, defaults: Defaults) -> Result<Vec<Run>, RowError> {
    let rows = runs_csv::read_runs(table, defaults).map_err(|e| RowError {
        line: 1,
        run_id: String::new(),
        reason: e.to_string(),
        value: String::new(),
        last: true,
    })?;
    rows.collect()
}
