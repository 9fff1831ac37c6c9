//! How the plugin is linked in its own profile (`cargo build --profile plugin -p spank-plugin`): every page of it costs each `sbatch`,
//! `srun` and step of the cluster microseconds.

use std::path::Path;

/// What the linker is told, and why.
const ARGUMENTS: [&str; 5] = [
    // No place that panics is left: the panic handler names a function that does not exist.
    "-Wl,-z,defs",
    // No constructors and destructors but our own.
    "-nostartfiles",
    // Nothing unwinds through it.
    "-Wl,--no-eh-frame-hdr",
    // One file mapping less each, and no call that protects the one.
    "-Wl,-z,noseparate-code",
    "-Wl,-z,norelro",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if is_own_profile() {
        for argument in ARGUMENTS {
            println!("cargo::rustc-cdylib-link-arg={argument}");
        }
    }
}

/// Whether cargo builds in the profile "plugin": it works in `PROFILE/build/PACKAGE-HASH/out`.
fn is_own_profile() -> bool {
    let out = std::env::var_os("OUT_DIR").unwrap_or_default();
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    profile.is_some_and(|name| name == "plugin")
}
