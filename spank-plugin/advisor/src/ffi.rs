//! What is called in Slurm, as C sees it. Every address is looked up in the running process: nothing that a Slurm release could lack
//! keeps the library from loading.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;

pub(crate) type Log = unsafe extern "C" fn(*const c_char, ...);
pub(crate) type OptionGet = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_char;
pub(crate) type OptionSet =
    unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, bool) -> c_int;
pub(crate) type OptionIs = unsafe extern "C" fn(*mut c_void, *const c_char) -> bool;

/// The address of a symbol of the running process, or `None`.
pub(crate) fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the name ends with NUL, and RTLD_DEFAULT is always a valid handle.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

/// The function of that name in the running process, as the function-pointer type given.
macro_rules! function {
    ($name:literal as $kind:ty) => {
        $crate::ffi::symbol($name).map(|address| {
            // SAFETY: the symbol is Slurm's function of that name, whose signature is the same from 19.05 to 26.05.
            unsafe { std::mem::transmute::<std::ptr::NonNull<std::ffi::c_void>, $kind>(address) }
        })
    };
}
pub(crate) use function;

/// A copy of a C string; `None` for a null pointer.
pub(crate) fn text(pointer: *const c_char) -> Option<CString> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: Slurm passes strings that end with NUL and live at least as long as the call.
    Some(unsafe { CStr::from_ptr(pointer) }.to_owned())
}

/// Copies of the strings of an argument vector. Null pointers are passed over.
pub(crate) fn words(count: c_int, vector: *const *const c_char) -> Vec<CString> {
    if vector.is_null() {
        return Vec::new();
    }
    let count = usize::try_from(count).unwrap_or(0);
    (0..count)
        .filter_map(|i| {
            // SAFETY: Slurm passes as many pointers as it counts.
            text(unsafe { *vector.add(i) })
        })
        .collect()
}

/// A C string's bytes as an operating-system string.
pub(crate) fn os(text: &CStr) -> &OsStr {
    OsStr::from_bytes(text.to_bytes())
}

/// A C string from text; a NUL inside ends it.
pub(crate) fn c_string(text: impl Into<Vec<u8>>) -> CString {
    let mut bytes = text.into();
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The types above are those of Slurm's own headers: it does not compile where one differs. `slurm_opt.h` of 26.05 could not be had.
    macro_rules! same_as {
        ($release:ident: $($name:ident $kind:ty),*) => {
            const _: () = {
                $(const _: $kind = spank_abi::$release::$name;)*
            };
        };
    }
    same_as!(v22_05: slurm_option_get OptionGet, slurm_option_set OptionSet, slurm_option_isset OptionIs,
        slurm_option_reset OptionIs, slurm_info Log, slurm_error Log);
    same_as!(v24_11: slurm_option_get OptionGet, slurm_option_set OptionSet, slurm_option_isset OptionIs,
        slurm_option_reset OptionIs, slurm_info Log, slurm_error Log);
    same_as!(v26_05: slurm_info Log, slurm_error Log);

    #[test]
    fn a_symbol_that_is_not_there_is_none() {
        assert!(symbol(c"slurm_option_get_of_another_world").is_none());
        assert!(symbol(c"malloc").is_some());
    }

    #[test]
    fn null_pointers_are_no_text() {
        assert_eq!(text(std::ptr::null()), None);
        assert!(words(3, std::ptr::null()).is_empty());
        let vector = [c"config=/x".as_ptr(), std::ptr::null()];
        assert_eq!(words(2, vector.as_ptr()), [c"config=/x".to_owned()]);
        assert!(words(-1, vector.as_ptr()).is_empty());
    }

    #[test]
    fn text_from_outside_ends_at_its_first_nul() {
        assert_eq!(c_string("a\0b").as_c_str(), c"a");
    }
}
