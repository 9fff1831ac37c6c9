//! The file system that weights lie on: its kind and where it is mounted.

use std::path::Path;

/// `lustre:/scratch` of a folder or file; empty where it is none, or a name that is fetched.
pub(super) fn storage_of(weights: &str) -> String {
    let Ok(path) = std::fs::canonicalize(weights) else {
        return String::new();
    };
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mount_of(&mounts, &path)
}

/// The longest mount that holds the path; the last of two at one place covers the first.
fn mount_of(mounts: &str, path: &Path) -> String {
    let of_line = |line: &str| {
        let mut words = line.split(' ');
        let (at, kind) = (words.nth(1)?.to_owned(), words.next()?.to_owned());
        path.starts_with(&at).then_some((at, kind))
    };
    let found = mounts.lines().filter_map(of_line);
    let longest = found.max_by_key(|(at, _)| at.len());
    longest.map_or_else(String::new, |(at, kind)| format!("{kind}:{at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_counts_and_of_two_at_one_place_the_last() {
        let mounts = "/dev/sda1 / ext4 rw 0 0\n10.0.0.1@o2ib:/fs /scratch lustre rw 0 0\nautofs /home autofs rw 0 0\nnas:/home /home nfs4 rw 0 0\n";
        for (path, expected) in [
            ("/scratch/models/x", "lustre:/scratch"),
            ("/scratchy/x", "ext4:/"),
            ("/home/me/m", "nfs4:/home"),
        ] {
            assert_eq!(mount_of(mounts, Path::new(path)), expected);
        }
    }
}
