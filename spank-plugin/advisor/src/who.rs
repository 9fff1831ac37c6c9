//! Who submits, as the system's own files and services tell. Asked in the child alone: a directory
//! service may hang.

use std::ffi::{CStr, c_char};

use model_store::startable::{Other, Who};

/// Most bytes that one entry of the user or group database may take.
const ENTRY: usize = 64 * 1024;

/// The user and the groups of this process; names of groups where they are asked for.
pub(crate) fn of_process(with_group_names: bool, others: Vec<Other>) -> Who {
    let gids = gids();
    Who {
        user: user(),
        groups: if with_group_names {
            gids.iter().filter_map(|gid| group(*gid)).collect()
        } else {
            Vec::new()
        },
        gids,
        others,
    }
}

fn user() -> Option<String> {
    let mut buffer = vec![0 as c_char; ENTRY];
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut found = std::ptr::null_mut();
    // SAFETY: entry, buffer and result live beyond the call, and the length is the buffer's.
    let code = unsafe {
        libc::getpwuid_r(
            libc::getuid(),
            entry.as_mut_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
            &raw mut found,
        )
    };
    if code != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the call succeeded: `found` is the entry, whose name is text in the buffer that ends with NUL.
    let name = unsafe { CStr::from_ptr((*found).pw_name) };
    name.to_str().ok().map(str::to_owned)
}

fn group(gid: u32) -> Option<String> {
    let mut buffer = vec![0 as c_char; ENTRY];
    let mut entry = std::mem::MaybeUninit::<libc::group>::uninit();
    let mut found = std::ptr::null_mut();
    // SAFETY: as above.
    let code = unsafe {
        libc::getgrgid_r(
            gid,
            entry.as_mut_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
            &raw mut found,
        )
    };
    if code != 0 || found.is_null() {
        return None;
    }
    // SAFETY: as above, for a group.
    let name = unsafe { CStr::from_ptr((*found).gr_name) };
    name.to_str().ok().map(str::to_owned)
}

fn gids() -> Vec<u32> {
    // SAFETY: asks for the number alone, and writes nothing.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    let mut all = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the list has room for as many as are asked for.
    let count = unsafe { libc::getgroups(count.max(0), all.as_mut_ptr()) };
    all.truncate(usize::try_from(count).unwrap_or(0));
    // SAFETY: asks for a number.
    all.push(unsafe { libc::getgid() });
    all
}

#[cfg(test)]
mod tests {
    use super::of_process;

    #[test]
    fn this_process_has_a_user_and_a_group() {
        let who = of_process(true, Vec::new());
        assert!(who.user.is_some());
        assert!(!who.gids.is_empty() && !who.groups.is_empty());
    }
}
