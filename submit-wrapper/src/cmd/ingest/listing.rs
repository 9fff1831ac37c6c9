//! What lies in the spool, in the order in which one call takes it: a share for each owner, owners in turn, and what one of them has beyond
//! his share behind all others.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use model_store::wish;

use super::spool::{FRESH, Spool, since};

/// Most outcome files of one user that a call looks at; what is beyond is removed unread, so that a flood neither fills the disk nor takes
/// the time of others.
pub(crate) const MOST_OF_A_USER: usize = 50_000;
/// Most wishes of one user that may lie there; a fifth of them is kept in any case.
pub(crate) const MOST_WISHES_OF_A_USER: usize = 1_000;

/// How much of each kind one owner has looked at in one call.
#[derive(Clone, Copy, Debug)]
struct Shares {
    /// Outcome files.
    outcomes: usize,
    /// Bytes of outcome files that are taken before the second round of anybody.
    bytes: u64,
    /// Wishes.
    wishes: usize,
    /// Folders that are got out of the way.
    folders: usize,
    /// Names of other kinds, such as drafts, that are left where they are.
    others: usize,
    /// Names beyond all owners' shares that are kept to be removed.
    surplus: usize,
    /// Names after which a call ends its look.
    looked_at: usize,
}

const SHARES: Shares = Shares {
    outcomes: MOST_OF_A_USER,
    bytes: 64 << 20,
    wishes: MOST_WISHES_OF_A_USER,
    folders: 50_000,
    others: 10_000,
    // A flood of a thousand files a second for half an hour is less.
    surplus: 2_000_000,
    looked_at: 20_000_000,
};

/// A name in the spool, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The name.
    pub(crate) name: OsString,
    /// Owner of what lies under it.
    pub(crate) uid: u32,
}

/// What lies in the spool, as far as one call looks at it.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Outcome files, in the order in which they are to be taken.
    pub(crate) names: Vec<Named>,
    /// Wishes, likewise.
    pub(crate) wishes: Vec<Named>,
    /// Folders in the way, likewise.
    pub(crate) folders: Vec<Named>,
    /// Names beyond their owner's share, by owner.
    pub(crate) surplus: BTreeMap<u32, Vec<OsString>>,
    /// Further names of files that are listed under another one.
    pub(crate) again: Vec<OsString>,
    /// There is more for the next call.
    pub(crate) more: bool,
}

/// What a name says that it is: outcomes end in `.json`, wishes in `.wish`, neither is hidden. Files that are being written have other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Outcome,
    Wish,
    Other,
}

fn kind_of(name: &OsString) -> Kind {
    let text = name.as_encoded_bytes();
    if text.starts_with(b".") {
        Kind::Other
    } else if text.ends_with(wish::SUFFIX.as_bytes()) {
        Kind::Wish
    } else if text.ends_with(b".json") {
        Kind::Outcome
    } else {
        Kind::Other
    }
}

/// What one owner has there.
#[derive(Default)]
struct Owner {
    outcomes: Vec<(OsString, u64)>,
    wishes: Vec<OsString>,
    folders: Vec<OsString>,
    others: usize,
}

/// Looks at every name once.
///
/// # Errors
/// The system's.
pub(crate) fn list(spool: &Spool) -> io::Result<Listing> {
    list_within(spool, SHARES)
}

fn list_within(spool: &Spool, most: Shares) -> io::Result<Listing> {
    let mut look = Look {
        most,
        listing: Listing::default(),
        owners: BTreeMap::new(),
        linked: HashSet::new(),
        surplus: 0,
    };
    for (n, entry) in fs::read_dir(spool.path())?.enumerate() {
        if n == most.looked_at {
            look.listing.more = true;
            break;
        }
        let entry = entry?;
        let name = entry.file_name();
        let kind = kind_of(&name);
        // The folder's own word, which asks no file system that may be mounted there and hang.
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_folder && kind == Kind::Other {
            continue;
        }
        // Of the name itself, not of what it points to; without an answer it is nobody's.
        let data = entry.metadata().ok();
        match is_folder {
            true => look.folder(name, data.as_ref()),
            false => look.file(name, kind, data.as_ref()),
        }
    }
    Ok(look.in_turn())
}

/// One look through the spool.
struct Look {
    most: Shares,
    listing: Listing,
    owners: BTreeMap<u32, Owner>,
    /// Files with several names that were met.
    linked: HashSet<(u64, Kind)>,
    surplus: usize,
}

impl Look {
    fn folder(&mut self, name: OsString, data: Option<&Metadata>) {
        let uid = data.map_or(u32::MAX, MetadataExt::uid);
        let folders = &mut self.owners.entry(uid).or_default().folders;
        match folders.len() < self.most.folders {
            true => folders.push(name),
            false => self.listing.more = true,
        }
    }

    fn file(&mut self, name: OsString, kind: Kind, data: Option<&Metadata>) {
        // Anybody may give somebody's file more names: they are no part of that owner's share.
        if let Some(data) = data.filter(|d| d.is_file() && d.nlink() > 1)
            && !self.linked.insert((data.ino(), kind))
        {
            // A draft may be given a second name while it is written: its own name has to stay until then.
            if kind != Kind::Other || since(data.ctime()) > FRESH {
                self.keep_surplus(None, name);
            }
            return;
        }
        let uid = data.map_or(u32::MAX, MetadataExt::uid);
        let owner = self.owners.entry(uid).or_default();
        match kind {
            Kind::Outcome if owner.outcomes.len() < self.most.outcomes => {
                let size = data.map_or(0, Metadata::len);
                owner.outcomes.push((name, size));
            }
            Kind::Wish if owner.wishes.len() < self.most.wishes => owner.wishes.push(name),
            Kind::Other if owner.others < self.most.others => owner.others += 1,
            _ => self.keep_surplus(Some(uid), name),
        }
    }

    fn keep_surplus(&mut self, uid: Option<u32>, name: OsString) {
        if self.surplus == self.most.surplus {
            self.listing.more = true;
            return;
        }
        self.surplus += 1;
        match uid {
            Some(uid) => self.listing.surplus.entry(uid).or_default().push(name),
            None => self.listing.again.push(name),
        }
    }

    /// Owners in turn, a name of each; what is beyond an owner's bytes after all that is within anybody's.
    fn in_turn(mut self) -> Listing {
        let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
        let (mut wishes, mut folders) = (BTreeMap::new(), BTreeMap::new());
        for (uid, mut owner) in std::mem::take(&mut self.owners) {
            // Of files that contradict one another the first by name counts.
            owner.outcomes.sort();
            owner.wishes.sort();
            let mut bytes = 0_u64;
            let within = owner.outcomes.iter().take_while(|(_, size)| {
                bytes = bytes.saturating_add(*size);
                bytes <= self.most.bytes
            });
            let rest = owner.outcomes.split_off(within.count());
            let names = |all: Vec<(OsString, u64)>| all.into_iter().map(|(name, _)| name).collect();
            first.insert(uid, names(owner.outcomes));
            second.insert(uid, names(rest));
            wishes.insert(uid, owner.wishes);
            folders.insert(uid, owner.folders);
        }
        let mut listing = self.listing;
        listing.names = turns(first);
        listing.names.extend(turns(second));
        listing.wishes = turns(wishes);
        listing.folders = turns(folders);
        listing
    }
}

/// One of each owner's, then another of each.
fn turns(owners: BTreeMap<u32, Vec<OsString>>) -> Vec<Named> {
    let mut waiting: Vec<(u32, std::vec::IntoIter<OsString>)> = owners
        .into_iter()
        .map(|(uid, names)| (uid, names.into_iter()))
        .collect();
    let mut all = Vec::with_capacity(waiting.iter().map(|(_, names)| names.len()).sum());
    while !waiting.is_empty() {
        waiting.retain_mut(|(uid, names)| {
            let next = names.next();
            let is_there = next.is_some();
            all.extend(next.map(|name| Named { name, uid: *uid }));
            is_there
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Shares = Shares {
        outcomes: 5,
        bytes: 40,
        wishes: 3,
        folders: 2,
        others: 2,
        surplus: 1000,
        looked_at: 10_000,
    };

    #[test]
    fn a_flood_keeps_nobody_elses_files_back_and_a_call_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..40 {
            fs::write(dir.path().join(format!("{n}.json")), "").unwrap();
            fs::write(dir.path().join(format!("{n}.wish")), "").unwrap();
            fs::write(dir.path().join(format!(".{n}")), "").unwrap();
            fs::create_dir(dir.path().join(format!("folder {n}.json"))).unwrap();
        }
        let spool = Spool::open(dir.path()).unwrap();
        // Many more names than one call keeps, and still it comes to the end of the folder.
        let all = list_within(&spool, FEW).unwrap();
        let brief = |l: &Listing| (l.names.len(), l.wishes.len(), l.folders.len(), l.more);
        assert_eq!(brief(&all), (5, 3, 2, true));
        assert_eq!(
            all.surplus.values().map(Vec::len).sum::<usize>(),
            35 + 37 + 38
        );
        let bounded = list_within(&spool, Shares { surplus: 10, ..FEW }).unwrap();
        assert_eq!(brief(&bounded), (5, 3, 2, true));
        assert_eq!(bounded.surplus.values().map(Vec::len).sum::<usize>(), 10);
        let few = list_within(
            &spool,
            Shares {
                looked_at: 2,
                ..FEW
            },
        )
        .unwrap();
        assert!(few.more);
    }

    #[test]
    fn further_names_of_a_file_count_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.json"), "x").unwrap();
        fs::write(dir.path().join(".draft"), "x").unwrap();
        for n in 0..40 {
            fs::hard_link(
                dir.path().join("a.json"),
                dir.path().join(format!("b{n}.json")),
            )
            .unwrap();
            fs::hard_link(dir.path().join(".draft"), dir.path().join(format!(".d{n}"))).unwrap();
        }
        fs::write(dir.path().join("c.json"), "x").unwrap();
        let all = list_within(&Spool::open(dir.path()).unwrap(), FEW).unwrap();
        assert_eq!((all.names.len(), all.again.len(), all.more), (2, 40, false));
        assert!(all.surplus.is_empty());
    }

    #[test]
    fn owners_come_in_turn_and_what_is_beyond_ones_bytes_comes_last() {
        let mut look = Look {
            most: FEW,
            listing: Listing::default(),
            owners: BTreeMap::new(),
            linked: HashSet::new(),
            surplus: 0,
        };
        let named = |all: &[(&str, u64)]| Owner {
            outcomes: all
                .iter()
                .map(|(name, size)| (OsString::from(name), *size))
                .collect(),
            ..Owner::default()
        };
        look.owners
            .insert(1, named(&[("b", 30), ("a", 20), ("c", 1)]));
        look.owners.insert(2, named(&[("d", 1), ("e", 1)]));
        look.owners.insert(3, named(&[("f", 99)]));
        let names: Vec<_> = look
            .in_turn()
            .names
            .into_iter()
            .map(|n| (n.uid, n.name))
            .collect();
        let expected = [(1, "a"), (2, "d"), (2, "e"), (1, "b"), (3, "f"), (1, "c")];
        assert_eq!(names, expected.map(|(uid, name)| (uid, name.into())));
    }
}
