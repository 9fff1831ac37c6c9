//! Names in the environment: of what users set, of what Slurm passes on, of what a job is told.

/// What comes before the upper-case name of an option in a user's own environment: `OMNIPILOT_TP` is `--llm-tp`.
pub const OF_USERS: &str = "OMNIPILOT_";

/// What comes before the name of an option (`llm_tp`) in which Slurm passes a plugin's options on, in a job.
pub const PASSED_ON: &str = "_SLURM_SPANK_OPTION_omnipilot_";

/// The same in the environment of a submitting command, where Slurm reads it too.
pub const OFFERED: &str = "SLURM_SPANK__SLURM_SPANK_OPTION_omnipilot_";

/// What ends the names of a component's variables, before its number.
pub const OF_A_COMPONENT: &str = "_HET_GROUP_";

/// Names in the job's environment that carry the advice. `SLURM_LLM_*` survives `--export=NONE`.
pub mod job {
    /// Tensor-parallel degree.
    pub const TP: &str = "SLURM_LLM_TP";
    /// Weight format.
    pub const PRECISION: &str = "SLURM_LLM_PRECISION";
    /// Slurm GPU type (gres).
    pub const GPU: &str = "SLURM_LLM_GPU";
    /// Advice id.
    pub const ADVICE: &str = "SLURM_LLM_ADVICE";
    /// Engine arguments that carry out the advice, separated by blanks.
    pub const ENGINE_ARGS: &str = "SLURM_LLM_ENGINE_ARGS";
    /// Model as the user named it.
    pub const MODEL: &str = "SLURM_LLM_MODEL";
    /// Stated input length, tokens.
    pub const ISL: &str = "SLURM_LLM_ISL";
    /// Stated output length, tokens.
    pub const OSL: &str = "SLURM_LLM_OSL";
    /// Stated requests in flight.
    pub const CONCURRENCY: &str = "SLURM_LLM_CONCURRENCY";
    /// Spool directory for outcome files.
    pub const SPOOL: &str = "SLURM_LLM_SPOOL";

    /// All of them.
    pub const ALL: [&str; 10] = [
        TP,
        PRECISION,
        GPU,
        ADVICE,
        ENGINE_ARGS,
        MODEL,
        ISL,
        OSL,
        CONCURRENCY,
        SPOOL,
    ];
}
