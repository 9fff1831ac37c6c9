//! Who submits, as the system's own files and services tell. Asked in the child alone: a directory
//! service may hang.

use model_store::startable::{Other, Who};
use nix::unistd::{Gid, Group, User, getgid, getgroups, getuid};

/// The user and the groups of this process; names of groups where they are asked for.
pub(crate) fn of_process(with_group_names: bool, others: Vec<Other>) -> Who {
    let mut gids = getgroups().unwrap_or_default();
    gids.push(getgid());
    let group = |gid: &Gid| Group::from_gid(*gid).ok().flatten().map(|group| group.name);
    Who {
        user: User::from_uid(getuid())
            .ok()
            .flatten()
            .map(|user| user.name),
        groups: if with_group_names {
            gids.iter().filter_map(group).collect()
        } else {
            Vec::new()
        },
        gids: gids.into_iter().map(Gid::as_raw).collect(),
        others,
    }
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
