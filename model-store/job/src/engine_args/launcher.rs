//! What stands before an engine in its command: how many tasks `srun` makes of it, in which
//! component of a heterogeneous job, and whether `omnipilot run` starts it.

/// Programs that start a command once for each task or node.
const PER_TASK: [&str; 4] = ["srun", "mpirun", "mpiexec", "prun"];

/// True where the command may run on more than one node.
pub(super) fn is_spread(before: &[&str]) -> bool {
    let Some(at) = before
        .iter()
        .position(|w| PER_TASK.contains(&super::command::base(w)))
    else {
        return false;
    };
    let options = before.get(at + 1..).unwrap_or_default();
    let one = |flags: &[&str]| flags.iter().any(|flag| value(options, flag) == Some("1"));
    !one(&["-n", "--ntasks", "-N", "--nodes", "-np"])
}

/// The components of a heterogeneous job that it runs in; without a word of them the first.
pub(super) fn het_groups(before: &[&str]) -> Vec<u32> {
    let list = ["--het-group", "--pack-group"]
        .iter()
        .find_map(|flag| value(before, flag));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u32>().ok();
        Some(number(first)?..=number(last)?.min(127))
    };
    let named: Vec<u32> = list
        .into_iter()
        .flat_map(|list| list.split(','))
        .filter_map(range)
        .flatten()
        .collect();
    if named.is_empty() { vec![0] } else { named }
}

/// True under `omnipilot run`.
pub(super) fn under_run(before: &[&str]) -> bool {
    let named = |w: &str| {
        super::command::base(w)
            .to_ascii_lowercase()
            .contains("omnipilot")
    };
    before
        .iter()
        .position(|w| named(w))
        .and_then(|at| before.get(at..))
        .is_some_and(|rest| rest.contains(&"run"))
}

/// The value of an option, in any of the ways to write one.
fn value<'a>(options: &[&'a str], flag: &str) -> Option<&'a str> {
    options.iter().enumerate().find_map(|(i, word)| {
        let rest = word.strip_prefix(flag)?;
        if rest.is_empty() {
            return options.get(i + 1).copied();
        }
        let long = flag.starts_with("--");
        rest.strip_prefix('=').or((!long).then_some(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    #[test]
    fn srun_spreads_unless_it_is_told_one() {
        for text in [
            "srun",
            "/usr/bin/srun -n 2 --gpus=4",
            "mpirun -np 4",
            "srun --ntasks-per-node=1",
        ] {
            assert!(is_spread(&words(text)), "{text}");
        }
        for text in [
            "",
            "env A=b",
            "srun -n1",
            "srun -N 1 omnipilot run --",
            "srun --nodes=1",
            "srun --ntasks 1",
        ] {
            assert!(!is_spread(&words(text)), "{text}");
        }
    }

    #[test]
    fn components_are_named_by_srun() {
        assert_eq!(het_groups(&words("srun -n1")), [0]);
        assert_eq!(het_groups(&words("srun --het-group=1 -n1")), [1]);
        assert_eq!(het_groups(&words("srun --het-group 0-1,3")), [0, 1, 3]);
        assert_eq!(het_groups(&words("srun --pack-group=2")), [2]);
        assert_eq!(het_groups(&words("srun --het-group=x")), [0]);
    }
}
