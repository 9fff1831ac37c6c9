//! Room on the file systems of store, snapshot and spool.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model_store::config::Config;
use nix::sys::statvfs::{FsFlags, statvfs};

use super::Seen;

const MIB: u64 = 1 << 20;
/// Besides what is copied at once: outcome files, a store's new pages and its journal.
const LEAST: u64 = MIB;
/// Less than this beside a copy of the store, and it will be full before somebody looks.
const SOON: u64 = 64 * MIB;

pub(super) fn check(config: &Config, seen: &mut Seen) {
    let folder = |file: &Path| file.parent().unwrap_or(file).to_path_buf();
    let folders = [
        folder(&config.store),
        folder(&config.snapshot),
        config.spool.clone(),
    ];
    // One finding a file system. What is not there is said elsewhere.
    let mut all = BTreeMap::<u64, PathBuf>::new();
    for folder in folders {
        if let Ok(data) = fs::metadata(&folder) {
            all.entry(data.dev()).or_insert(folder);
        }
    }
    let size = |file: &Path| fs::metadata(file).map_or(0, |data| data.len());
    let least = LEAST + size(&config.snapshot);
    let soon = SOON + size(&config.store);
    let before = seen.findings.len();
    let room: Vec<u64> = all
        .values()
        .filter_map(|folder| one(folder, least, soon, seen))
        .collect();
    if let Some(least) = room.iter().min().filter(|_| seen.findings.len() == before) {
        let words = format!("{} MB are left for store, snapshot and spool", least / MIB);
        seen.ok("disk", words);
    }
}

/// Bytes that are left on the file system of a folder; `None` where it does not say.
fn one(folder: &Path, least: u64, soon: u64, seen: &mut Seen) -> Option<u64> {
    let found = statvfs(folder).ok()?;
    let place = folder.display();
    if found.flags().contains(FsFlags::ST_RDONLY) {
        seen.error(
            "disk",
            format!("{place} lies on a file system that is mounted read-only: nothing is taken in, trained or published"),
            format!("`findmnt --target {place}` shows it; after an error of its disk `dmesg` says why"),
        );
        return None;
    }
    let left = found.blocks_available() * found.fragment_size();
    let all = found.blocks() * found.fragment_size();
    let room = format!(
        "{} of {} MB are left on the file system of {place}",
        left / MIB,
        all / MIB
    );
    let hint = format!("`du -xh --max-depth=2 {place}` shows what lies there; free some space");
    if left < least {
        let words = format!(
            "{room}, and a snapshot and its like take {} MB",
            least.div_ceil(MIB)
        );
        seen.error("disk", words, hint);
    } else if found.files() > 0 && found.files_available() == 0 {
        let words = format!("{room}, but none of its {} inodes", found.files());
        seen.error(
            "disk",
            words,
            format!("`du --inodes -x --max-depth=2 {place}` shows where many files lie"),
        );
    } else if left < soon {
        seen.warning("disk", room, hint);
    }
    Some(left)
}
