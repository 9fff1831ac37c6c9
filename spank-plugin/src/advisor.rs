//! The advisor library: found beside the plugin, loaded for the first tagged submission of a process, asked if it is of this
//! release. What keeps it from being asked costs the advice and nothing else.

use core::ffi::{CStr, c_int};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use plugin_contract::question::{Advisor, INTERFACE, LIBRARY, Question, RELEASE, SYMBOL};

use crate::place::{Path, path_of, sibling};
use crate::slurm;
use crate::text::Text;

/// Longest words of the loader that are told, and their NUL, bytes.
const LONGEST_WORDS: usize = 512;

/// The library's symbol once it has been loaded.
static LOADED: AtomicPtr<Advisor> = AtomicPtr::new(null_mut());

/// True where an earlier component has loaded it.
pub(crate) fn is_loaded() -> bool {
    !LOADED.load(Ordering::Relaxed).is_null()
}

/// Asks, and gives the answer: zero where Slurm is to go on, or the code with which the submission ends. Where there is nobody to
/// ask Slurm goes on, and `is_wanted` says whether that is told.
pub(crate) fn ask(question: &Question, is_wanted: bool) -> c_int {
    let tell = |reason: &CStr, detail: &CStr| {
        if is_wanted {
            slurm::tell_fault(reason, detail);
        }
    };
    if !is_loaded() {
        LOADED.store(load(&tell).unwrap_or(null_mut()), Ordering::Relaxed);
    }
    // SAFETY: null, or the library's static, which is of this release and never unloaded.
    let Some(advisor) = (unsafe { LOADED.load(Ordering::Relaxed).as_ref() }) else {
        return 0;
    };
    // SAFETY: the question lives through the call, and what it points to does, too.
    unsafe { (advisor.decide)(question) }
}

/// Loads the library, or tells what it is that keeps it from being asked.
fn load(tell: &impl Fn(&CStr, &CStr)) -> Option<*mut Advisor> {
    let Some((own, path)) = own_path().and_then(|own| Some((own, sibling(own, LIBRARY)?))) else {
        tell(c"the plugin was not loaded by its whole path", c"");
        return None;
    };
    if !is_trusted(&path, own) {
        tell(
            c"others than the plugin's owner and root may write ",
            path.as_c(),
        );
        return None;
    }
    let flags = libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NODELETE;
    // SAFETY: a library of this release or another one, whose constructors are those of Rust's standard library.
    let handle = unsafe { libc::dlopen(path.as_c().as_ptr(), flags) };
    if handle.is_null() {
        tell(c"the advisor library: ", loader_error().as_c());
        return None;
    }
    // SAFETY: the handle is open, and the name ends with NUL.
    let advisor: *mut Advisor = unsafe { libc::dlsym(handle, SYMBOL.as_ptr()) }.cast();
    if !is_of_this_release(advisor) {
        tell(c"of another release than the plugin is ", path.as_c());
        return None;
    }
    Some(advisor)
}

/// Whether the symbol is there and begins with this release's numbers.
fn is_of_this_release(advisor: *const Advisor) -> bool {
    if advisor.is_null() {
        return false;
    }
    // SAFETY: the symbol begins with these two in every release, and the second is only read where the first is this one's.
    unsafe { (*advisor).interface == INTERFACE && (*advisor).release == RELEASE }
}

/// The file from which Slurm loaded this plugin.
fn own_path() -> Option<&'static CStr> {
    path_of((&raw const crate::plugin_name).cast())
}

/// Loading a file is trusting it with what the user may do. Who may write the plugin's folder or the plugin is trusted anyway;
/// the library must not be open to more people. A library that is not there is left to the loader to tell.
fn is_trusted(path: &Path, own: &CStr) -> bool {
    const BY_ANYBODY: libc::mode_t = libc::S_IWOTH;
    match (status(path.as_c()), status(own)) {
        (None, _) => true,
        (Some(library), plugin) => {
            let of_owner =
                library.st_uid == 0 || plugin.is_some_and(|plugin| plugin.st_uid == library.st_uid);
            of_owner && library.st_mode & BY_ANYBODY == 0
        }
    }
}

fn status(path: &CStr) -> Option<libc::stat> {
    let mut status = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path ends with NUL, and there is room for the answer.
    let failed = unsafe { libc::stat(path.as_ptr(), status.as_mut_ptr()) } != 0;
    // SAFETY: plain data that was filled in, for which zeroes are valid too.
    (!failed).then(|| unsafe { status.assume_init() })
}

/// A copy of what the loader says, cut where it is longer: the next look-up of a symbol gives its own text back.
fn loader_error() -> Text<LONGEST_WORDS> {
    // SAFETY: takes nothing; null, or a text of the loader's.
    let error = unsafe { libc::dlerror() };
    let error = if error.is_null() {
        c"it cannot be loaded"
    } else {
        // SAFETY: the text stays until this thread's next call of the loader.
        unsafe { CStr::from_ptr(error) }
    };
    let all = error.to_bytes().iter().copied();
    Text::of(all.take(LONGEST_WORDS - 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_looked_for_beside_the_plugin() {
        let path = sibling(c"/usr/lib/slurm/spank_omnipilot.so", LIBRARY);
        assert_eq!(path.unwrap().as_c(), c"/usr/lib/slurm/omnipilot_advisor.so");
    }
}
