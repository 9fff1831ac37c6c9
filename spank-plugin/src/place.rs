//! Where files lie: the one that holds an address, and those beside it.

use core::ffi::{CStr, c_char, c_void};

use crate::text::Text;

/// Longest path, and its NUL, bytes: the kernel's limit.
const LONGEST: usize = 4096;

/// A path.
pub(crate) type Path = Text<LONGEST>;

/// The file of the library that holds an address; `None` unless it is a whole path.
pub(crate) fn path_of(address: *const c_void) -> Option<&'static CStr> {
    let mut info = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: both pointers are valid; dladdr only looks the address up.
    if unsafe { libc::dladdr(address, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: plain data, for which zeroes are valid too.
    let name: *const c_char = unsafe { info.assume_init() }.dli_fname;
    if name.is_null() {
        return None;
    }
    // SAFETY: the loader's own text, which ends with NUL and stays while the library does.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_bytes().starts_with(b"/").then_some(name)
}

/// A file of that name in the folder of another one.
pub(crate) fn sibling(of: &CStr, name: &CStr) -> Option<Path> {
    let of = of.to_bytes();
    let file = of.rsplit(|byte| *byte == b'/').next()?;
    let folder = of.iter().take(of.len() - file.len());
    Text::of(folder.chain(name.to_bytes()).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_another_is_in_its_folder() {
        assert_eq!(sibling(c"/a/b.so", c"c.so").unwrap().as_c(), c"/a/c.so");
        assert_eq!(sibling(c"/b.so", c"c.so").unwrap().as_c(), c"/c.so");
    }

    #[test]
    fn a_path_that_does_not_fit_is_none() {
        let long = format!("/{}/x.so\0", "a".repeat(LONGEST - 10));
        assert!(
            sibling(
                CStr::from_bytes_with_nul(long.as_bytes()).unwrap(),
                c"library.so"
            )
            .is_none()
        );
    }
}
