//! The Python client, by its own tests, against the command as it is built with the public snapshot beside it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use e2e::artifacts;

#[test]
#[cfg_attr(not(e2e_python), ignore = "needs python3")]
fn the_python_client_says_what_the_command_says() {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/python");
    let out = Command::new("python3")
        .args(["-B", "-m", "unittest", "discover", "-s", "tests"])
        .current_dir(&client)
        .env("PYTHONPATH", "src")
        .env("OMNIPILOT_BIN", artifacts::omnipilot().unwrap())
        .env_remove("OMNIPILOT_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("OK"), "{said}");
    assert!(!said.contains("Ran 0 tests"), "{said}");
}
