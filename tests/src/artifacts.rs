//! Finds what the other crates built.
//!
//! The Makefile names the files in `OMNIPILOT_PLUGIN`, `OMNIPILOT_ADVISOR` and `OMNIPILOT_BIN`. Without these variables they are looked
//! for near the test executable: in `target/plugin`, `target/release`, then in `target/debug`.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The plugin as cargo builds it, `libspank_omnipilot.so`.
pub fn plugin() -> Result<PathBuf> {
    find("OMNIPILOT_PLUGIN", "libspank_omnipilot.so", "spank-plugin")
}

/// The plugin's advisor library as cargo builds it, `libomnipilot_advisor.so`.
pub fn advisor() -> Result<PathBuf> {
    find(
        "OMNIPILOT_ADVISOR",
        "libomnipilot_advisor.so",
        "spank-advisor",
    )
}

/// The command `omnipilot`.
pub fn omnipilot() -> Result<PathBuf> {
    find("OMNIPILOT_BIN", "omnipilot", "submit-wrapper")
}

/// The engine stand-in. Tests of this package are given its path by cargo; the demo builds it in release.
pub fn standin() -> Result<PathBuf> {
    find("OMNIPILOT_STANDIN", "standin-engine", "e2e")
}

/// A C helper from `native/`, which the build has compiled where `e2e_native` holds.
pub fn native(name: &str) -> PathBuf {
    Path::new(env!("OUT_DIR")).join(name)
}

fn find(variable: &str, file: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
        let absent = || {
            Error::new(format!(
                "{variable} names {}, which is not there",
                path.display()
            ))
        };
        return path.canonicalize().map_err(|_| absent());
    }
    target_folders()
        .map(|folder| folder.join(file))
        .find(|path| path.exists())
        .ok_or_else(|| {
            Error::new(format!(
                "{file} (package {package}) is not built: run `make build` or set {variable}"
            ))
        })
}

/// `target/plugin`, `target/release` and `target/debug`, from this executable's own place in `target/PROFILE/deps`.
fn target_folders() -> impl Iterator<Item = PathBuf> {
    let here = std::env::current_exe().unwrap_or_default();
    let target = here
        .ancestors()
        .find(|folder| is_profile(folder))
        .and_then(Path::parent)
        .map(Path::to_path_buf);
    target
        .into_iter()
        .flat_map(|target| ["plugin", "release", "debug"].map(|profile| target.join(profile)))
}

fn is_profile(folder: &Path) -> bool {
    folder
        .file_name()
        .is_some_and(|name| name == "release" || name == "debug")
}
