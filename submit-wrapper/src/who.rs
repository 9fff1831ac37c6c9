//! Who submits a job, as the system tells.

use std::ffi::CString;

use model_store::config::Config;
use model_store::startable::{Other, Who};
use nix::unistd::{Gid, Group, Uid, User, getgid, getgrouplist, getgroups, getuid};

/// The user of this process.
pub(crate) fn me(config: &Config, others: Vec<Other>) -> Who {
    let mut gids = getgroups().unwrap_or_default();
    gids.push(getgid());
    of(config, name_of(getuid()), gids, others)
}

/// Another user by name, as far as this machine knows him.
pub(crate) fn named(config: &Config, user: &str) -> Who {
    let entry = User::from_name(user).ok().flatten();
    let name = CString::new(user).unwrap_or_default();
    let gids = entry.and_then(|entry| getgrouplist(&name, entry.gid).ok());
    of(
        config,
        Some(user.to_owned()),
        gids.unwrap_or_default(),
        Vec::new(),
    )
}

fn of(config: &Config, user: Option<String>, gids: Vec<Gid>, others: Vec<Other>) -> Who {
    let by_group = config.limit.iter().any(|entry| entry.names_groups());
    let name = |gid: &Gid| Group::from_gid(*gid).ok().flatten().map(|g| g.name);
    Who {
        user: user.filter(|name| !name.is_empty()),
        groups: if by_group {
            gids.iter().filter_map(name).collect()
        } else {
            Vec::new()
        },
        gids: gids.into_iter().map(Gid::as_raw).collect(),
        others,
    }
}

fn name_of(uid: Uid) -> Option<String> {
    User::from_uid(uid).ok().flatten().map(|user| user.name)
}
