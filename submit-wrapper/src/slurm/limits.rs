//! Accounts, QOS and their limits, from `sacctmgr`. No user's own limit leaves this file: only that
//! there is one.

use std::collections::BTreeMap;

use model_store::slurm_view::{Accounts, Cap, Membership, Named, Per, Standing};

/// Columns of associations that are asked for.
pub(crate) const ASSOCIATIONS: &str = "format=Cluster,Account,User,ParentName,GrpTRES,GrpTRESMins,GrpTRESRunMins,MaxTRES,MaxTRESPerNode,MaxTRESMins,DefaultQOS,QOS";
/// Columns of QOS that are asked for.
pub(crate) const QOS: &str = "format=Name,UsageFactor,GrpTRES,GrpTRESMins,GrpTRESRunMins,MaxTRES,MaxTRESPU,MaxTRESPA,MaxTRESPerNode,MaxTRESMins,MinTRES";
/// Columns of users that are asked for.
pub(crate) const USERS: &str = "format=User,DefaultAccount";

/// The limits of a QOS in the order of its columns: Slurm's name, and what it is on.
const OF_QOS: [(&str, Per); 9] = [
    ("GrpTRES", Per::Job),
    ("GrpTRESMins", Per::Minutes),
    ("GrpTRESRunMins", Per::Minutes),
    ("MaxTRESPerJob", Per::Job),
    ("MaxTRESPerUser", Per::Job),
    ("MaxTRESPerAccount", Per::Job),
    ("MaxTRESPerNode", Per::Node),
    ("MaxTRESMins", Per::Minutes),
    ("MinTRESPerJob", Per::Least),
];
/// The limits of an association that its children share.
const OF_GROUP: [(&str, Per); 3] = [
    ("GrpTRES", Per::Job),
    ("GrpTRESMins", Per::Minutes),
    ("GrpTRESRunMins", Per::Minutes),
];
/// The limits of an association that hold for each job, as Slurm hands them down.
const OF_JOB: [(&str, Per); 3] = [
    ("MaxTRESPerJob", Per::Job),
    ("MaxTRESPerNode", Per::Node),
    ("MaxTRESMins", Per::Minutes),
];

/// One association.
#[derive(Clone, Debug, Default)]
struct Row<'a> {
    account: &'a str,
    user: &'a str,
    parent: &'a str,
    group: [&'a str; 3],
    job: [&'a str; 3],
    default_qos: &'a str,
    qos: &'a str,
}

/// Puts together what `sacctmgr -nP show assoc`, `qos` and `user` print.
pub(crate) fn parse(cluster: &str, associations: &str, qos: &str, users: &str) -> Accounts {
    let rows: Vec<Row> = associations
        .lines()
        .filter_map(|l| row(cluster, l))
        .collect();
    let qos: Vec<Named> = qos.lines().filter_map(quality).collect();
    let accounts = accounts(&rows);
    let (users, standings) = standings(&rows, &accounts, &qos, users);
    Accounts {
        accounts,
        qos,
        users: Accounts::pack(users),
        standings,
    }
}

fn row<'a>(cluster: &str, line: &'a str) -> Option<Row<'a>> {
    let mut cells = line.split('|');
    let mut next = || cells.next();
    if next()? != cluster {
        return None;
    }
    let (account, user, parent) = (next()?, next()?, next()?);
    let (group, job) = ([next()?, next()?, next()?], [next()?, next()?, next()?]);
    Some(Row {
        account,
        user,
        parent,
        group,
        job,
        default_qos: next()?,
        qos: next()?,
    })
}

fn quality(line: &str) -> Option<Named> {
    let mut cells = line.split('|');
    let name = cells.next().filter(|n| !n.is_empty())?;
    let factor = cells.next()?.parse().unwrap_or(1.0);
    let mut all = Vec::new();
    for ((limit, per), text) in OF_QOS.into_iter().zip(cells) {
        all.extend(caps(text, limit, per));
    }
    Some(Named {
        name: name.to_owned(),
        caps: tightest(all),
        factor,
    })
}

/// Every account with what holds for a job in it: its own limits on a job, and what it and every
/// account above it share among their jobs.
fn accounts(rows: &[Row]) -> Vec<Named> {
    let own: BTreeMap<&str, &Row> = rows
        .iter()
        .filter(|r| r.user.is_empty())
        .map(|r| (r.account, r))
        .collect();
    own.values()
        .map(|row| {
            let mut all = of_job(row);
            let mut at = Some(*row);
            // Deeper than any tree of accounts is: a circle ends.
            for _ in 0..64 {
                let Some(here) = at else { break };
                for ((limit, per), text) in OF_GROUP.into_iter().zip(here.group) {
                    all.extend(caps(text, limit, per));
                }
                at = own
                    .get(here.parent)
                    .copied()
                    .filter(|_| !here.parent.is_empty());
            }
            Named {
                name: row.account.to_owned(),
                caps: tightest(all),
                factor: 1.0,
            }
        })
        .collect()
}

fn of_job(row: &Row) -> Vec<Cap> {
    let all = OF_JOB.into_iter().zip(row.job);
    all.flat_map(|((limit, per), text)| caps(text, limit, per))
        .collect()
}

/// Users with the place of what they may use, equal ones once.
fn standings(
    rows: &[Row],
    accounts: &[Named],
    qos: &[Named],
    users: &str,
) -> (Vec<(String, u32)>, Vec<Standing>) {
    let place = |all: &[Named], name: &str| {
        let at = all.iter().position(|n| n.name == name);
        at.and_then(|at| u32::try_from(at).ok())
    };
    let account_at: BTreeMap<&str, u32> = accounts
        .iter()
        .zip(0u32..)
        .map(|(a, at)| (a.name.as_str(), at))
        .collect();
    let of_account: BTreeMap<&str, &Row> = rows
        .iter()
        .filter(|r| r.user.is_empty())
        .map(|r| (r.account, r))
        .collect();
    let mut found: BTreeMap<&str, Standing> = BTreeMap::new();
    for row in rows.iter().filter(|r| !r.user.is_empty()) {
        let Some(account) = account_at.get(row.account) else {
            continue;
        };
        let has_own = row.group.iter().any(|text| !text.is_empty())
            || of_account.get(row.account).is_none_or(|a| a.job != row.job);
        let member = Membership {
            account: *account,
            own_limits: has_own,
            qos: default_qos(row).and_then(|name| place(qos, name)),
        };
        let standing = found.entry(row.user).or_default();
        // A user may stand there once for each partition.
        match standing
            .memberships
            .iter_mut()
            .find(|m| m.account == *account)
        {
            Some(there) => {
                there.own_limits |= member.own_limits;
                there.qos = there.qos.filter(|q| Some(*q) == member.qos);
            }
            None => standing.memberships.push(member),
        }
    }
    for line in users.lines() {
        if let Some((user, account)) = line.split_once('|')
            && let Some(standing) = found.get_mut(user)
        {
            standing.default = account_at.get(account.trim_end_matches('|')).copied();
        }
    }
    once(found)
}

fn once(found: BTreeMap<&str, Standing>) -> (Vec<(String, u32)>, Vec<Standing>) {
    let mut places: BTreeMap<Standing, u32> = BTreeMap::new();
    let mut standings = Vec::new();
    let mut users = Vec::new();
    for (user, standing) in found {
        let next = u32::try_from(standings.len()).unwrap_or(u32::MAX);
        let at = *places.entry(standing.clone()).or_insert_with(|| {
            standings.push(standing);
            next
        });
        users.push((user.to_owned(), at));
    }
    (users, standings)
}

/// The QOS of a job that names none, where that is sure.
fn default_qos<'a>(row: &Row<'a>) -> Option<&'a str> {
    let all: Vec<&str> = row.qos.split(',').filter(|q| !q.is_empty()).collect();
    match (row.default_qos, all.as_slice()) {
        ("", [one]) => Some(one),
        ("", all) => all.iter().copied().find(|q| *q == "normal"),
        (default, _) => Some(default),
    }
}

/// `cpu=64,gres/gpu:h200=0,mem=100G`
fn caps(text: &str, limit: &str, per: Per) -> Vec<Cap> {
    let one = |pair: &str| {
        let (tres, amount) = pair.rsplit_once('=')?;
        let most = amount_of(tres, amount)?;
        Some(Cap {
            tres: tres.to_owned(),
            most,
            per,
            limit: limit.to_owned(),
        })
    };
    text.split(',').filter_map(one).collect()
}

fn amount_of(tres: &str, amount: &str) -> Option<u64> {
    let end = amount
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(amount.len());
    let (digits, unit) = amount.split_at_checked(end)?;
    let number: f64 = digits.parse().ok()?;
    let factor = match (unit, tres) {
        ("", _) | ("M", "mem") => 1.0,
        ("K", "mem") => 1.0 / 1024.0,
        ("K", _) => 1e3,
        ("G", "mem") => 1024.0,
        ("T", "mem") => 1024.0 * 1024.0,
        ("P", "mem") => 1024.0 * 1024.0 * 1024.0,
        ("M", _) => 1e6,
        ("G", _) => 1e9,
        _ => return None,
    };
    let amount = number * factor;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within bounds
    (0.0..1e18).contains(&amount).then_some(amount as u64)
}

/// Of several limits on the same the one that allows least.
fn tightest(all: Vec<Cap>) -> Vec<Cap> {
    let mut out: BTreeMap<(String, Per), Cap> = BTreeMap::new();
    for cap in all {
        let key = (cap.tres.clone(), cap.per);
        let tighter = |there: &Cap| match cap.per {
            Per::Least => cap.most > there.most,
            _ => cap.most < there.most,
        };
        if out.get(&key).is_none_or(tighter) {
            out.insert(key, cap);
        }
    }
    out.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn real() -> Accounts {
        parse(
            "omnipilot",
            include_str!("captures/22.05/associations.txt"),
            include_str!("captures/22.05/qos.txt"),
            include_str!("captures/22.05/users.txt"),
        )
    }

    fn told(named: &Named) -> Vec<(String, u64, String)> {
        let one = |c: &Cap| (c.tres.clone(), c.most, c.limit.clone());
        named.caps.iter().map(one).collect()
    }

    #[test]
    fn an_account_is_held_to_what_it_and_those_above_share() {
        let all = real();
        let sub = all.account("sub").unwrap().1;
        assert_eq!(
            told(sub),
            [
                ("cpu".to_owned(), 64, "MaxTRESPerJob".to_owned()),
                ("gres/gpu:h200".into(), 0, "GrpTRES".into())
            ]
        );
        let normal = all.quality("normal").unwrap();
        assert_eq!(
            told(normal),
            [
                ("gres/gpu".to_owned(), 1, "MaxTRESPerJob".to_owned()),
                ("gres/gpu:h200".into(), 0, "MaxTRESPerUser".into())
            ]
        );
    }

    #[test]
    fn a_users_own_limit_is_marked_and_not_told() {
        let all = real();
        let alice = all.standing("alice").unwrap();
        let bob = all.standing("bob").unwrap();
        let own = |s: &Standing| {
            s.memberships
                .iter()
                .map(|m| m.own_limits)
                .collect::<Vec<_>>()
        };
        assert_eq!((own(alice), own(bob)), (vec![true], vec![false]));
        let account = |s: &Standing| all.accounts[s.default.unwrap() as usize].name.clone();
        assert_eq!(
            (account(alice), account(bob)),
            ("poor".into(), "sub".into())
        );
        assert_eq!(
            all.qos[bob.memberships[0].qos.unwrap() as usize].name,
            "normal"
        );
        assert!(all.standing("carol").is_none());
    }

    #[test]
    fn amounts_are_read_with_their_units() {
        let read = |text| {
            caps(text, "x", Per::Job)
                .into_iter()
                .map(|c| c.most)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read("mem=100G,cpu=4,gres/gpu:A100=2,billing=1.5K"),
            [102_400, 4, 2, 1500]
        );
        assert_eq!(read(""), [] as [u64; 0]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", rows in "(omnipilot\\|[a-z|=,0-9]{0,60}\n){0,4}") {
            drop(parse("omnipilot", &rows, &text, &rows));
            drop(parse("omnipilot", &text, &rows, &text));
        }
    }
}
