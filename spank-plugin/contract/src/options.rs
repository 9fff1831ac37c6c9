//! The one table of `--llm-*` options. The plugin registers it, `omnipilot advise` and `omnipilot submit` accept it, and the
//! names of variables follow from it.

use core::ffi::CStr;

/// One option as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// Long name without the leading dashes.
    pub name: &'static str,
    /// Placeholder of the value, in capitals.
    pub metavar: &'static str,
    /// One line of help, without a trailing period.
    pub help: &'static str,
    /// The environment variable that stands for the option.
    pub variable: &'static str,
    /// The same as Slurm takes them.
    pub listed: Listed,
}

/// An option as Slurm and the C library take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// [`OptionSpec::name`]
    pub name: &'static CStr,
    /// [`OptionSpec::metavar`]
    pub metavar: &'static CStr,
    /// [`OptionSpec::help`], with the plugin's name before it.
    pub usage: &'static CStr,
    /// [`OptionSpec::variable`]
    pub variable: &'static CStr,
}

/// Text with its NUL, as C sees it.
const fn c(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

/// One row an option: its place, name, value, variable and help.
macro_rules! table {
    ($($place:ident $name:literal $metavar:literal $variable:literal $help:literal)*) => {
        #[allow(clippy::upper_case_acronyms)] // places, not names
        enum Place {
            $($place),*
        }
        $(
            #[doc = concat!("Place of `--", $name, "` in [`OPTIONS`].")]
            pub const $place: usize = Place::$place as usize;
        )*

        /// How many options there are.
        pub const COUNT: usize = [$($name),*].len();

        /// Every option, in the order in which help lists them.
        pub const OPTIONS: [OptionSpec; COUNT] = [$(OptionSpec {
            name: $name,
            metavar: $metavar,
            help: $help,
            variable: $variable,
            listed: Listed {
                name: c(concat!($name, "\0")),
                metavar: c(concat!($metavar, "\0")),
                usage: c(concat!("[omnipilot] ", $help, "\0")),
                variable: c(concat!($variable, "\0")),
            },
        }),*];
    };
}

table! {
    MODEL "llm-model" "MODEL" "OMNIPILOT_MODEL" "model to serve: a catalogue name or a directory with config.json; the tag that asks for advice"
    ISL "llm-isl" "TOKENS" "OMNIPILOT_ISL" "mean input tokens of a request"
    OSL "llm-osl" "TOKENS" "OMNIPILOT_OSL" "mean output tokens of a request"
    CONCURRENCY "llm-concurrency" "N" "OMNIPILOT_CONCURRENCY" "requests in flight; without it the engine is taken as saturated"
    RATE "llm-rate" "REQ_S" "OMNIPILOT_RATE" "requests per second that will arrive"
    REQUESTS "llm-requests" "N" "OMNIPILOT_REQUESTS" "requests of a batch job in all: the answer says how long they take"
    SLO "llm-slo" "SLO" "OMNIPILOT_SLO" "latency targets in ms, such as ttft=500,tpot=50"
    GPU "llm-gpu" "TYPE" "OMNIPILOT_GPU" "use this GPU type (a pin)"
    TP "llm-tp" "N" "OMNIPILOT_TP" "use this tensor-parallel degree (a pin)"
    PRECISION "llm-precision" "FORMAT" "OMNIPILOT_PRECISION" "use this weight format (a pin)"
    ADVICE "llm-advice" "MODE" "OMNIPILOT_ADVICE" "rewrite (default), check (advise, change nothing), explore (submit as written, learn from it), off"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slurm_is_given_what_users_read() {
        for spec in OPTIONS {
            assert_eq!(spec.listed.name.to_str(), Ok(spec.name));
            assert_eq!(spec.listed.metavar.to_str(), Ok(spec.metavar));
            let usage = spec.listed.usage.to_str().unwrap();
            assert_eq!(usage.strip_prefix("[omnipilot] "), Some(spec.help));
            assert_eq!(spec.listed.variable.to_str(), Ok(spec.variable));
        }
    }

    #[test]
    fn a_variable_is_named_as_its_option() {
        for spec in OPTIONS {
            let rest = spec
                .variable
                .strip_prefix(crate::environment::OF_USERS)
                .unwrap();
            let named = spec.name.strip_prefix("llm-").unwrap();
            assert!(rest.eq_ignore_ascii_case(named), "{rest}");
        }
    }

    #[test]
    fn the_places_are_those_of_the_options() {
        assert_eq!(OPTIONS[MODEL].name, "llm-model");
        assert_eq!(OPTIONS[ADVICE].name, "llm-advice");
        assert_eq!(COUNT, ADVICE + 1);
    }
}
