//! The Slurm process around the plugin, in safe words. Every function of Slurm is looked up in the running process: nothing that a
//! release could lack keeps the plugin from loading.

use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::ptr::NonNull;

/// Callback of an option: its number, its value, and 1 on a compute node.
pub(crate) type OptionCallback =
    extern "C" fn(val: c_int, optarg: *const c_char, remote: c_int) -> c_int;

/// `struct spank_option`, unchanged from Slurm 19.05 to 26.05.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SpankOption {
    pub(crate) name: *const c_char,
    pub(crate) arginfo: *const c_char,
    pub(crate) usage: *const c_char,
    pub(crate) has_arg: c_int,
    pub(crate) val: c_int,
    pub(crate) cb: Option<OptionCallback>,
}

// SAFETY: it points to texts that never change and that live as long as the process.
unsafe impl Sync for SpankOption {}

/// In which kind of process the plugin runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// `sbatch`, `salloc`
    Allocator,
    /// `srun`
    Local,
    /// slurmd, slurmstepd, a prolog's helper, or nothing known: keep out
    Elsewhere,
}

/// The address of a symbol of the running process, or `None`.
pub(crate) fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the name ends with NUL, and RTLD_DEFAULT is always a valid handle.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

/// The function of that name in the running process, as the function-pointer type given.
macro_rules! function {
    ($name:literal as $kind:ty) => {
        $crate::slurm::symbol($name).map(|address| {
            // SAFETY: the symbol is Slurm's function of that name, whose signature is the same from 19.05 to 26.05.
            unsafe {
                core::mem::transmute::<core::ptr::NonNull<core::ffi::c_void>, $kind>(address)
            }
        })
    };
}

/// Asks Slurm in which context it runs.
pub(crate) fn context() -> Context {
    const LOCAL: c_int = 1;
    const ALLOCATOR: c_int = 3;
    let Some(context) = function!(c"spank_context" as unsafe extern "C" fn() -> c_int) else {
        return Context::Elsewhere;
    };
    // SAFETY: takes nothing, returns a number.
    match unsafe { context() } {
        ALLOCATOR => Context::Allocator,
        LOCAL => Context::Local,
        _ => Context::Elsewhere,
    }
}

/// What `slurm_api_version` says of the Slurm that is loading.
pub(crate) fn api_version() -> Option<c_long> {
    let version = function!(c"slurm_api_version" as unsafe extern "C" fn() -> c_long)?;
    // SAFETY: takes nothing, returns a number.
    Some(unsafe { version() })
}

/// Registers options.
pub(crate) fn register(spank: *mut c_void, options: &'static [SpankOption]) {
    type Register = unsafe extern "C" fn(*mut c_void, *mut SpankOption) -> c_int;
    let Some(register) = function!(c"spank_option_register" as Register) else {
        return;
    };
    for option in options {
        // SAFETY: the handle is the one that Slurm passed to this hook; the option is static, and Slurm copies it.
        unsafe { register(spank, (&raw const *option).cast_mut()) };
    }
}

/// Says on one line, hidden by `-Q`, why there is no advice though one was asked for.
pub(crate) fn tell_fault(reason: &CStr, detail: &CStr) {
    type Log = unsafe extern "C" fn(*const c_char, ...);
    if let Some(info) = function!(c"slurm_info" as Log) {
        let form = c"omnipilot: no advice: %s%s; the job goes as written";
        // SAFETY: a printf-like function with a string for each `%s`; text from outside is never the format.
        unsafe { info(form.as_ptr(), reason.as_ptr(), detail.as_ptr()) };
    }
}

/// Ends the process as a refused submission. Slurm's own exit handlers run.
pub(crate) fn exit(code: c_int) {
    // SAFETY: a submitting command before it has submitted anything, as its own fatal errors do.
    unsafe { libc::exit(code) }
}
