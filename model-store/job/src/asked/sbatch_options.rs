//! The options of `sbatch`, one row each: name, letter, how a value is taken, and the variable that stands for it.
//!
//! From 22.05 (every name by its own word, see `tests/slurm/facts.rs`) and the manual pages of 24.11 and 26.05.

use super::options::OPTIONS;

/// How an option takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// It has none.
    Nothing,
    /// Behind `=` alone.
    Perhaps,
    /// Behind `=`, or the next word.
    Value,
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Long name.
    pub(super) name: &'static str,
    /// Letter, where it has one.
    letter: Option<char>,
    pub(super) takes: Takes,
    /// What stands for it in the environment; sorted out by `sbatch` alone, so a name that it does not know is none.
    variable: Option<&'static str>,
}

/// `name`, `name/L` with a letter, then how a value is taken and the variable.
macro_rules! rows {
    ($($name:literal $($letter:literal)? $takes:ident $($variable:ident)?;)*) => {
        &[$(Row {
            name: $name,
            letter: rows!(@one $($letter)?),
            takes: Takes::$takes,
            variable: rows!(@text $($variable)?),
        }),*]
    };
    (@one) => { None };
    (@one $letter:literal) => { Some($letter) };
    (@text) => { None };
    (@text $variable:ident) => { Some(stringify!($variable)) };
}

const ROWS: &[Row] = rows! {
    "account" 'A' Value SBATCH_ACCOUNT;
    "acctg-freq" Value SBATCH_ACCTG_FREQ;
    "array" 'a' Value SBATCH_ARRAY_INX;
    "batch" Value SBATCH_BATCH;
    "bb" Value SBATCH_BURST_BUFFER;
    "bbf" Value;
    "begin" 'b' Value;
    "chdir" 'D' Value;
    "cluster" Value;
    "cluster-constraint" Value SBATCH_CLUSTER_CONSTRAINT;
    "clusters" 'M' Value SBATCH_CLUSTERS;
    "comment" Value;
    "consolidate-segments" Nothing SBATCH_CONSOLIDATE_SEGMENTS;
    "constraint" 'C' Value SBATCH_CONSTRAINT;
    "container" Value SBATCH_CONTAINER;
    "container-id" Value SBATCH_CONTAINER_ID;
    "container-type" Value SBATCH_CONTAINER_TYPE;
    "context" Value;
    "contiguous" Nothing;
    "core-spec" 'S' Value SBATCH_CORE_SPEC;
    "cores-per-socket" Value;
    "cpu-freq" Value SBATCH_CPU_FREQ_REQ;
    "cpus-per-gpu" Value SBATCH_CPUS_PER_GPU;
    "cpus-per-task" 'c' Value;
    "deadline" Value;
    "delay-boot" Value SBATCH_DELAY_BOOT;
    "dependency" 'd' Value;
    "distribution" 'm' Value SBATCH_DISTRIBUTION;
    "error" 'e' Value SBATCH_ERROR;
    "exclude" 'x' Value;
    "exclusive" Perhaps SBATCH_EXCLUSIVE;
    "export" Value SBATCH_EXPORT;
    "export-file" Value;
    "extra" Value;
    "extra-node-info" 'B' Value;
    "get-user-env" Perhaps SBATCH_GET_USER_ENV;
    "gid" Value;
    "gpu-bind" Value SBATCH_GPU_BIND;
    "gpu-freq" Value SBATCH_GPU_FREQ;
    "gpus" 'G' Value SBATCH_GPUS;
    "gpus-per-node" Value SBATCH_GPUS_PER_NODE;
    "gpus-per-socket" Value SBATCH_GPUS_PER_SOCKET;
    "gpus-per-task" Value SBATCH_GPUS_PER_TASK;
    "gres" Value SBATCH_GRES;
    "gres-flags" Value SBATCH_GRES_FLAGS;
    "help" 'h' Nothing;
    "hint" Value SBATCH_HINT;
    "hold" 'H' Nothing;
    "ignore-pbs" Nothing SBATCH_IGNORE_PBS;
    "input" 'i' Value SBATCH_INPUT;
    "job-name" 'J' Value SBATCH_JOB_NAME;
    "kill-on-invalid-dep" Value;
    "licenses" 'L' Value;
    "mail-type" Value;
    "mail-user" Value;
    "mcs-label" Value;
    "mem" Value SBATCH_MEM_PER_NODE;
    "mem-bind" Value SBATCH_MEM_BIND;
    "mem-per-cpu" Value SBATCH_MEM_PER_CPU;
    "mem-per-gpu" Value SBATCH_MEM_PER_GPU;
    "mem-update" Value;
    "mincpus" Value;
    "network" Value SBATCH_NETWORK;
    "nice" Perhaps;
    "no-kill" 'k' Perhaps SBATCH_NO_KILL;
    "no-requeue" Nothing SBATCH_NO_REQUEUE;
    "nodefile" 'F' Value;
    "nodelist" 'w' Value;
    "nodes" 'N' Value;
    "ntasks" 'n' Value;
    "ntasks-per-core" Value;
    "ntasks-per-gpu" Value;
    "ntasks-per-node" Value;
    "ntasks-per-socket" Value;
    "ntasks-per-tres" Value;
    "oom-kill-step" Perhaps;
    "open-mode" Value SBATCH_OPEN_MODE;
    "output" 'o' Value SBATCH_OUTPUT;
    "overcommit" 'O' Nothing SBATCH_OVERCOMMIT;
    "oversubscribe" 's' Nothing;
    "parsable" Nothing;
    "partition" 'p' Value SBATCH_PARTITION;
    "power" Value SBATCH_POWER;
    "prefer" Value;
    "priority" Value;
    "profile" Value SBATCH_PROFILE;
    "propagate" Perhaps;
    "qos" 'q' Value SBATCH_QOS;
    "quiet" 'Q' Nothing;
    "reboot" Nothing;
    "requeue" Perhaps SBATCH_REQUEUE;
    "reservation" Value SBATCH_RESERVATION;
    "resources" Value;
    "resv-ports" Perhaps;
    "segment" Value SBATCH_SEGMENT_SIZE;
    "signal" Value SBATCH_SIGNAL;
    "sockets-per-node" Value;
    "spread-job" Nothing SBATCH_SPREAD_JOB;
    "spread-segments" Nothing SBATCH_SPREAD_SEGMENTS;
    "stepmgr" Nothing;
    "switches" Value SBATCH_REQ_SWITCH;
    "tasks-per-node" Value;
    "test-only" Nothing;
    "thread-spec" Value SBATCH_THREAD_SPEC;
    "threads-per-core" Value SBATCH_THREADS_PER_CORE;
    "time" 't' Value SBATCH_TIMELIMIT;
    "time-min" Value;
    "tmp" Value;
    "tres-bind" Value SBATCH_TRES_BIND;
    "tres-per-task" Value SBATCH_TRES_PER_TASK;
    "uid" Value;
    "usage" Nothing;
    "use-min-nodes" Nothing SBATCH_USE_MIN_NODES;
    "verbose" 'v' Nothing;
    "version" 'V' Nothing;
    "wait" 'W' Nothing SBATCH_WAIT;
    "wait-all-nodes" Value SBATCH_WAIT_ALL_NODES;
    "wckey" Value SBATCH_WCKEY;
    "wrap" Value;
};

/// Other spellings of an option that Slurm takes for the same one.
const SAME: [(&str, &str); 2] = [
    ("cluster", "clusters"),
    ("tasks-per-node", "ntasks-per-node"),
];

/// Options whose value may hold blanks, so that a line without its quotes does not say where they end.
const FREE_TEXT: [&str; 20] = [
    "array",
    "bb",
    "bbf",
    "begin",
    "chdir",
    "comment",
    "constraint",
    "container",
    "context",
    "deadline",
    "error",
    "export",
    "export-file",
    "extra",
    "input",
    "job-name",
    "output",
    "wckey",
    "wrap",
    "llm-model",
];

/// The option that a long name means, as `getopt_long` has it: its whole name, or a beginning that no other option has.
/// Other plugins' options are not known here, so what is no option of the table is given back as it is.
pub(super) fn meant(name: &str) -> &str {
    let all = || {
        let ours = OPTIONS.iter().map(|spec| spec.name);
        ROWS.iter().map(|row| row.name).chain(ours)
    };
    let mut fit = all().filter(|full| full.starts_with(name));
    let whole = all().find(|full| *full == name);
    let full = whole.or_else(|| fit.next().filter(|_| fit.next().is_none()));
    full.map_or(name, |full| {
        let same = SAME.iter().find(|(other, _)| *other == full);
        same.map_or(full, |(_, usual)| usual)
    })
}

/// How an option takes its value. One that is not known takes the next word, as most do.
pub(super) fn takes(name: &str) -> Takes {
    let row = ROWS.iter().find(|row| row.name == name);
    row.map_or(Takes::Value, |row| row.takes)
}

/// The option behind a letter.
pub(super) fn of_letter(letter: char) -> Option<(&'static str, Takes)> {
    let row = ROWS.iter().find(|row| row.letter == Some(letter))?;
    Some((row.name, row.takes))
}

/// The variable that stands for an option, where `sbatch` has one.
pub fn variable_of(name: &str) -> Option<&'static str> {
    ROWS.iter().find(|row| row.name == name)?.variable
}

/// True where an option's value may hold blanks.
pub(super) fn is_free_text(name: &str) -> bool {
    FREE_TEXT.contains(&name)
}

/// The long names of every option that is known, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_means_the_one_option_that_has_it() {
        for (given, full) in [
            ("gres", "gres"),
            ("gre", "gre"), // --gres and --gres-flags
            ("gpus", "gpus"),
            ("gpus-per-n", "gpus-per-node"),
            ("part", "partition"),
            ("exclu", "exclu"),
            ("tasks-per-node", "ntasks-per-node"),
            ("llm-mod", "llm-model"),
            ("llm-", "llm-"),
            ("another-plugins", "another-plugins"),
        ] {
            assert_eq!(meant(given), full, "{given}");
        }
    }

    #[test]
    fn each_name_and_each_letter_stands_once_and_in_order() {
        assert!(ROWS.windows(2).all(|two| two[0].name < two[1].name));
        let mut letters: Vec<char> = ROWS.iter().filter_map(|row| row.letter).collect();
        letters.sort_unstable();
        assert!(letters.windows(2).all(|two| two[0] < two[1]));
        for name in FREE_TEXT {
            assert!(meant(name) == name && takes(name) == Takes::Value, "{name}");
        }
    }

    #[test]
    fn a_variable_is_slurms_own() {
        assert_eq!(variable_of("mem"), Some("SBATCH_MEM_PER_NODE"));
        assert_eq!(variable_of("gpus-per-node"), Some("SBATCH_GPUS_PER_NODE"));
        assert_eq!(variable_of("nodes"), None);
    }
}
