//! The Slurm process around the plugin, in safe words. Every function of Slurm is looked up in the running process: nothing that a
//! release could lack keeps the plugin from loading.

use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use core::ptr::NonNull;

/// Callback of an option: its number, its value, and 1 on a compute node.
pub(crate) type OptionCallback =
    extern "C" fn(val: c_int, optarg: *const c_char, remote: c_int) -> c_int;

/// `struct spank_option`, the same from Slurm 22.05 to 26.05 as the tests below show.
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

// What is called in Slurm, as it declares it: the tests below hold these against its own headers.
type SpankContext = unsafe extern "C" fn() -> c_uint;
type ApiVersion = unsafe extern "C" fn() -> c_long;
type Register<Option> = unsafe extern "C" fn(*mut c_void, *mut Option) -> c_uint;
type Log = unsafe extern "C" fn(*const c_char, ...);

/// `S_CTX_LOCAL`
const LOCAL: c_uint = 1;
/// `S_CTX_ALLOCATOR`
const ALLOCATOR: c_uint = 3;

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
    let Some(context) = function!(c"spank_context" as SpankContext) else {
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
    let version = function!(c"slurm_api_version" as ApiVersion)?;
    // SAFETY: takes nothing, returns a number.
    Some(unsafe { version() })
}

/// Registers options.
pub(crate) fn register(spank: *mut c_void, options: &'static [SpankOption]) {
    let Some(register) = function!(c"spank_option_register" as Register<SpankOption>) else {
        return;
    };
    for option in options {
        // SAFETY: the handle is the one that Slurm passed to this hook; the option is static, and Slurm copies it.
        unsafe { register(spank, (&raw const *option).cast_mut()) };
    }
}

/// Says on one line, hidden by `-Q`, why there is no advice though one was asked for.
pub(crate) fn tell_fault(reason: &CStr, detail: &CStr) {
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

#[cfg(test)]
mod tests {
    use core::mem::{align_of, offset_of, size_of};

    use super::*;

    /// What is declared here is what that release's `spank.h` declares: it does not compile where a function differs.
    macro_rules! same_as {
        ($release:ident, $test:ident) => {
            #[test]
            fn $test() {
                use spank_abi::$release::{self as theirs, spank_option};
                const _: SpankContext = theirs::spank_context;
                const _: ApiVersion = theirs::slurm_api_version;
                const _: Register<spank_option> = theirs::spank_option_register;
                const _: Log = theirs::slurm_info;
                const _: theirs::spank_opt_cb_f = {
                    extern "C" fn callback(_: c_int, _: *const c_char, _: c_int) -> c_int {
                        0
                    }
                    const OURS: OptionCallback = callback;
                    Some(OURS)
                };
                assert_eq!(size_of::<SpankOption>(), size_of::<spank_option>());
                assert_eq!(align_of::<SpankOption>(), align_of::<spank_option>());
                let ours = [
                    offset_of!(SpankOption, name),
                    offset_of!(SpankOption, arginfo),
                    offset_of!(SpankOption, usage),
                    offset_of!(SpankOption, has_arg),
                    offset_of!(SpankOption, val),
                    offset_of!(SpankOption, cb),
                ];
                let slurms = [
                    offset_of!(spank_option, name),
                    offset_of!(spank_option, arginfo),
                    offset_of!(spank_option, usage),
                    offset_of!(spank_option, has_arg),
                    offset_of!(spank_option, val),
                    offset_of!(spank_option, cb),
                ];
                assert_eq!(ours, slurms);
                assert_eq!(LOCAL, theirs::spank_context_S_CTX_LOCAL);
                assert_eq!(ALLOCATOR, theirs::spank_context_S_CTX_ALLOCATOR);
            }
        };
    }

    same_as!(v22_05, the_declarations_are_those_of_22_05);
    same_as!(v24_11, the_declarations_are_those_of_24_11);
    same_as!(v26_05, the_declarations_are_those_of_26_05);
}
