//! In which component of a heterogeneous job `srun` starts a command.

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
    fn components_are_named_by_srun() {
        assert_eq!(het_groups(&words("srun -n1")), [0]);
        assert_eq!(het_groups(&words("srun --het-group=1 -n1")), [1]);
        assert_eq!(het_groups(&words("srun --het-group 0-1,3")), [0, 1, 3]);
        assert_eq!(het_groups(&words("srun --pack-group=2")), [2]);
        assert_eq!(het_groups(&words("srun --het-group=x")), [0]);
    }
}
