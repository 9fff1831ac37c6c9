//! Who holds a lock on a file, as the kernel lists locks: whoever may read a store may lock it for as long as he likes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use model_store::options::shorten;
use nix::unistd::{Uid, User};

/// A process that holds a lock on the file and is not this one: `process 4711 (python3, user bob)`; `None` where none is listed.
pub(crate) fn of(path: &Path) -> Option<String> {
    let file = fs::metadata(path).ok()?;
    let (major, minor) = (libc::major(file.dev()), libc::minor(file.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", file.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let mut holders = locks.lines().filter_map(|line| holder(line, &place));
    let pid = holders.find(|pid| *pid != std::process::id())?;
    Some(in_words(pid))
}

/// The process of a line such as `7: POSIX  ADVISORY  READ 12319 fe:00:10084374 1073741826 1073742335`; one that only waits has an arrow.
fn holder(line: &str, place: &str) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? == "->" {
        return None;
    }
    let pid = words.nth(2)?;
    (words.next()? == place).then(|| pid.parse().ok())?
}

fn in_words(pid: u32) -> String {
    let of = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let owner = fs::metadata(format!("/proc/{pid}")).map(|data| data.uid());
    let user = match owner {
        Ok(uid) => User::from_uid(Uid::from_raw(uid))
            .ok()
            .flatten()
            .map_or_else(|| uid.to_string(), |user| user.name),
        Err(_) => "unknown".into(),
    };
    // Its name is the process's own choice.
    let comm = of("comm");
    format!("process {pid} ({}, user {user})", shorten(comm.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_is_read() {
        let of = |line| holder(line, "fe:00:10084374");
        assert_eq!(
            of("7: POSIX  ADVISORY  READ 12319 fe:00:10084374 1073741826 1073742335"),
            Some(12319)
        );
        assert_eq!(
            of("7: -> POSIX  ADVISORY  WRITE 12320 fe:00:10084374 0 EOF"),
            None
        );
        assert_eq!(of("8: OFDLCK ADVISORY  READ -1 fe:00:10084374 0 EOF"), None);
        assert_eq!(of("8: POSIX  ADVISORY  READ 12319 fe:00:1 0 EOF"), None);
        assert_eq!(of(""), None);
    }
}
