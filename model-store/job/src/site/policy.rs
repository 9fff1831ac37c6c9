//! What a site lets advice do to jobs, by partition, account and QOS. Pure.
//!
//! Untagged jobs are no matter of policy: a site that wants every GPU job tagged checks so on the
//! controller.

use serde::Deserialize;

/// What advice may do, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyMode {
    /// Nothing: a tagged job is as an untagged one.
    Off,
    /// Tell, and change and refuse nothing.
    Advise,
    /// What the user's `--llm-advice` says: rewrite or refuse, where it says nothing.
    #[default]
    Rewrite,
    /// Rewrite or refuse, whatever the user says.
    Enforce,
}

/// One entry of the configuration. A name that it does not give fits every job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyEntry {
    /// Partitions.
    #[serde(default)]
    pub partition: Names,
    /// Accounts, as they are typed at submission.
    #[serde(default)]
    pub account: Names,
    /// QOS, as they are typed at submission.
    #[serde(default)]
    pub qos: Names,
    /// What holds for these jobs.
    pub mode: PolicyMode,
}

/// One name or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// Not given.
    #[default]
    Any,
    /// One.
    One(String),
    /// One of these.
    Several(Vec<String>),
}

impl Names {
    /// A job that names none has the cluster's default, of which a submitting command knows
    /// nothing: it fits no name.
    pub(crate) fn fit(&self, name: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => name == Some(one),
            Self::Several(several) => name.is_some_and(|n| several.iter().any(|s| s == n)),
        }
    }

    /// True where one of these names fits; where none is given, always.
    pub(crate) fn fit_any(&self, names: &[String]) -> bool {
        *self == Self::Any || names.iter().any(|name| self.fit(Some(name)))
    }

    /// The names that are given.
    pub fn all(&self) -> &[String] {
        match self {
            Self::Any => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }

    fn is_given(&self) -> bool {
        *self != Self::Any
    }
}

/// What a job says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Member<'a> {
    /// Its partitions; the cluster's default one where it names none.
    pub partitions: &'a [String],
    /// Its account, where it names one.
    pub account: Option<&'a str>,
    /// Its QOS, where it names one.
    pub qos: Option<&'a str>,
}

/// The policy that holds for a job, and by which of its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What advice may do.
    pub mode: PolicyMode,
    /// Whose policy it is, in words (`partition serve`); the site's where no name decided.
    pub whose: String,
}

/// The entries of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a>(pub &'a [PolicyEntry]);

impl Policies<'_> {
    /// True where no job can be under this mode.
    pub fn never(&self, mode: PolicyMode) -> bool {
        self.0.iter().all(|entry| entry.mode != mode)
    }

    /// The policy of a job: of the entries the first that fits; of several partitions, in any of
    /// which it may start, the one that asks for most.
    pub fn of(&self, job: Member) -> Policy {
        let mut places: Vec<Option<&str>> =
            job.partitions.iter().map(|p| Some(p.as_str())).collect();
        if places.is_empty() {
            places.push(None);
        }
        let all = places.into_iter().map(|place| self.at(place, job));
        all.reduce(|a, b| if b.mode > a.mode { b } else { a })
            .unwrap_or_default()
    }

    fn at(&self, partition: Option<&str>, job: Member) -> Policy {
        let fits = |e: &&PolicyEntry| {
            e.partition.fit(partition) && e.account.fit(job.account) && e.qos.fit(job.qos)
        };
        let Some(entry) = self.0.iter().find(fits) else {
            return Policy {
                whose: "the site".into(),
                ..Policy::default()
            };
        };
        let names = [
            ("partition", &entry.partition, partition),
            ("account", &entry.account, job.account),
            ("QOS", &entry.qos, job.qos),
        ];
        let given: Vec<String> = names
            .into_iter()
            .filter(|(_, names, _)| names.is_given())
            .filter_map(|(kind, _, name)| {
                Some(format!("{kind} {}", crate::options::shorten(name?)))
            })
            .collect();
        Policy {
            mode: entry.mode,
            whose: if given.is_empty() {
                "the site".into()
            } else {
                given.join(" with ")
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn entries() -> Vec<PolicyEntry> {
        let text = "store = \"a\"\nsnapshot = \"b\"\nspool = \"c\"\n\
            [[policy]]\naccount = \"ops\"\nmode = \"off\"\n\
            [[policy]]\npartition = [\"serve\", \"prod\"]\nqos = \"high\"\nmode = \"enforce\"\n\
            [[policy]]\npartition = \"serve\"\nmode = \"rewrite\"\n\
            [[policy]]\nmode = \"advise\"\n";
        Config::parse(text).unwrap().policy
    }

    fn of(partitions: &[&str], account: Option<&str>, qos: Option<&str>) -> (PolicyMode, String) {
        let entries = entries();
        let partitions: Vec<String> = partitions.iter().map(|&p| p.into()).collect();
        let policy = Policies(&entries).of(Member {
            partitions: &partitions,
            account,
            qos,
        });
        (policy.mode, policy.whose)
    }

    #[test]
    fn the_first_entry_that_fits_counts() {
        let enforced = (
            PolicyMode::Enforce,
            "partition prod with QOS high".to_owned(),
        );
        assert_eq!(of(&["prod"], None, Some("high")), enforced);
        assert_eq!(of(&["serve"], None, None).0, PolicyMode::Rewrite);
        assert_eq!(
            of(&["other"], None, None),
            (PolicyMode::Advise, "the site".into())
        );
        assert_eq!(of(&[], None, None).0, PolicyMode::Advise);
        let off = (PolicyMode::Off, "account ops".to_owned());
        assert_eq!(of(&["prod"], Some("ops"), Some("high")), off);
    }

    #[test]
    fn of_several_partitions_the_one_that_asks_for_most_counts() {
        assert_eq!(of(&["other", "serve"], None, None).0, PolicyMode::Rewrite);
        assert_eq!(
            of(&["prod", "serve", "x"], None, Some("high")).0,
            PolicyMode::Enforce
        );
    }

    #[test]
    fn without_entries_users_decide() {
        let none = Policies(&[]).of(Member::default());
        assert_eq!(none.mode, PolicyMode::Rewrite);
        assert!(Policies(&[]).never(PolicyMode::Enforce));
    }
}
