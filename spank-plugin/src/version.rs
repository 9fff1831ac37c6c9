//! Makes one binary fit every Slurm: Slurm refuses a SPANK plugin whose `plugin_version` differs from its own in
//! major or minor, and looks right after loading it. A constructor runs before that and writes the version of the Slurm
//! that is loading.
//!
//! Three generations from Debian were tried (22.05, 24.11, 26.05). A release newer than the table is
//! asked through a plugin of its own; where that fails too, Slurm declines this plugin in one line and goes on.

use core::ffi::{CStr, c_char, c_long, c_void};

use crate::place::{path_of, sibling};
use crate::slurm;

/// API numbers of libslurm from 38 on, as (year, month) of the release.
const RELEASES: [(u32, u32); 8] = [
    (22, 5),
    (23, 2),
    (23, 11),
    (24, 5),
    (24, 11),
    (25, 5),
    (25, 11),
    (26, 5),
];

/// API number of the first of [`RELEASES`].
const FIRST_API: u32 = 38;

/// Plugins that Slurm brings itself; any of them tells the version.
const SIBLINGS: [&CStr; 3] = [c"auth_munge.so", c"cred_munge.so", c"hash_k12.so"];

// SAFETY: a constructor: called once by the loader, with all libraries of the process loaded; it
// neither panics nor allocates for a Slurm that the table knows.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = set_version;

extern "C" fn set_version() {
    let Some(version) = of_this_process() else {
        return;
    };
    // SAFETY: the loader holds its lock and nothing else can know this library yet.
    unsafe { (&raw mut crate::plugin_version).write(version) };
}

fn of_this_process() -> Option<u32> {
    of_api(slurm::api_version()?).or_else(|| of_a_sibling(api_address()?))
}

/// `SLURM_VERSION_NUMBER` of a release, without micro, from what `slurm_api_version` returns.
fn of_api(api: c_long) -> Option<u32> {
    let number = u32::try_from(api).ok()? >> 16;
    let (year, month) = RELEASES.get(usize::try_from(number.checked_sub(FIRST_API)?).ok()?)?;
    Some((year << 16) | (month << 8))
}

fn api_address() -> Option<*const c_void> {
    slurm::symbol(c"slurm_api_version").map(|address| address.as_ptr().cast_const())
}

/// Version of a plugin that lies in the folder of the library which holds this address.
fn of_a_sibling(address: *const c_void) -> Option<u32> {
    let library = path_of(address)?;
    SIBLINGS
        .iter()
        .find_map(|name| version_of_file(sibling(library, name)?.as_c()))
}

fn version_of_file(path: &CStr) -> Option<u32> {
    // SAFETY: a plugin of this Slurm, which Slurm itself loads the same way.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return None;
    }
    let name: *const c_char = c"plugin_version".as_ptr();
    // SAFETY: the handle is open; the symbol, where there is one, is a 32-bit number in every Slurm plugin.
    let version = unsafe { libc::dlsym(handle, name).cast::<u32>().as_ref().copied() };
    // SAFETY: closes what was opened above; the number was copied.
    unsafe { libc::dlclose(handle) };
    version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_releases_have_their_number() {
        assert_eq!(of_api(38 << 16), Some(0x16_05_00));
        assert_eq!(of_api(42 << 16), Some(0x18_0b_00));
        assert_eq!(of_api(45 << 16 | 3), Some(0x1a_05_00));
    }

    #[test]
    fn releases_outside_the_table_are_asked_otherwise() {
        for api in [0, -1, 37 << 16, 46 << 16, c_long::MAX] {
            assert_eq!(of_api(api), None, "{api}");
        }
    }

    #[test]
    fn a_folder_without_plugins_tells_nothing() {
        assert_eq!(
            of_a_sibling(slurm::symbol(c"malloc").unwrap().as_ptr()),
            None
        );
    }
}
