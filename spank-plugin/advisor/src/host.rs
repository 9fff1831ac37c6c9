//! The Slurm process around the library, in safe words.

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::NonNull;

use crate::ffi::{self, function};

/// The options of the submission at hand, by their long names.
pub(crate) trait JobOptions {
    /// True where the user, the environment or another plugin gave it.
    fn is_set(&self, name: &CStr) -> bool;
    /// Its value; `None` where it has none.
    fn get(&self, name: &CStr) -> Option<CString>;
    /// Gives it a value; false where Slurm does not take it.
    fn set(&mut self, name: &CStr, value: &CStr) -> bool;
    /// Makes it as if it had not been given.
    fn reset(&mut self, name: &CStr) -> bool;

    /// Its value where it was given and is text.
    fn given(&self, name: &CStr) -> Option<String> {
        if !self.is_set(name) {
            return None;
        }
        self.get(name)?.into_string().ok()
    }
}

/// The real options, in the process's own `opt`.
#[derive(Clone, Copy)]
pub(crate) struct SlurmOptions {
    opt: NonNull<c_void>,
    get: ffi::OptionGet,
    set: ffi::OptionSet,
    isset: ffi::OptionIs,
    reset: ffi::OptionIs,
}

impl SlurmOptions {
    /// Finds them; `None` in a Slurm that does not let its options be changed.
    pub(crate) fn find() -> Option<Self> {
        Some(Self {
            opt: ffi::symbol(c"opt")?,
            get: function!(c"slurm_option_get" as ffi::OptionGet)?,
            set: function!(c"slurm_option_set" as ffi::OptionSet)?,
            isset: function!(c"slurm_option_isset" as ffi::OptionIs)?,
            reset: function!(c"slurm_option_reset" as ffi::OptionIs)?,
        })
    }
}

impl JobOptions for SlurmOptions {
    fn is_set(&self, name: &CStr) -> bool {
        // SAFETY: `opt` is the process's own, never looked into here; the name ends with NUL.
        unsafe { (self.isset)(self.opt.as_ptr(), name.as_ptr()) }
    }

    fn get(&self, name: &CStr) -> Option<CString> {
        // SAFETY: as above. The text is Slurm's allocation, which only Slurm could free: it is left to the process's end.
        ffi::text(unsafe { (self.get)(self.opt.as_ptr(), name.as_ptr()) })
    }

    fn set(&mut self, name: &CStr, value: &CStr) -> bool {
        // SAFETY: as above; Slurm copies the value.
        unsafe { (self.set)(self.opt.as_ptr(), name.as_ptr(), value.as_ptr(), false) == 0 }
    }

    fn reset(&mut self, name: &CStr) -> bool {
        // SAFETY: as above.
        unsafe { (self.reset)(self.opt.as_ptr(), name.as_ptr()) }
    }
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Always shown.
    Error,
    /// Hidden by `-Q`.
    Info,
}

/// Prints a line on stderr in Slurm's own way.
pub(crate) fn log(level: Level, line: &str) {
    let line = ffi::c_string(line);
    let print = match level {
        Level::Error => function!(c"slurm_error" as ffi::Log),
        Level::Info => function!(c"slurm_info" as ffi::Log),
    };
    if let Some(print) = print {
        // SAFETY: a printf-like function with one string for its one `%s`; text from outside is never the format.
        unsafe { print(c"%s".as_ptr(), line.as_ptr()) };
    }
}

/// True where stderr is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    // SAFETY: only asks about a file descriptor.
    unsafe { libc::isatty(2) == 1 }
}

/// Where getopt stopped in the process's argument vector: the script, or the command.
pub(crate) fn first_argument() -> Option<usize> {
    let optind = ffi::symbol(c"optind")?.cast::<c_int>();
    // SAFETY: glibc's variable of that name, an int; nothing else runs in this process meanwhile.
    usize::try_from(unsafe { *optind.as_ptr() }).ok()
}
