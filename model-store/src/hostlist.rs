//! Slurm's lists of nodes (`h[01-12,20],a1`): read into names, and written short. Pure.

/// Most names that one list is read into: more nodes than any cluster has.
const MOST: usize = 200_000;

/// The names of a list; `None` for a text that is none, or for more names than any cluster has.
pub fn expand(list: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    for part in split(list)? {
        expand_one(part, &mut out)?;
    }
    Some(out)
}

/// Splits at the commas outside of brackets.
fn split(list: &str) -> Option<Vec<&str>> {
    let (mut depth, mut start, mut parts) = (0u32, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                parts.push(list.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(list.get(start..)?);
    (depth == 0).then(|| {
        parts
            .into_iter()
            .map(str::trim)
            .filter(|p| !p.is_empty())
            .collect()
    })
}

/// One name with any number of brackets in it, each of which multiplies.
fn expand_one(name: &str, out: &mut Vec<String>) -> Option<()> {
    let Some((before, rest)) = name.split_once('[') else {
        if out.len() >= MOST {
            return None;
        }
        out.push(name.to_owned());
        return Some(());
    };
    let (ranges, after) = rest.split_once(']')?;
    for range in ranges.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(low) || !digits(high) {
            return None;
        }
        let (from, to): (u64, u64) = (low.parse().ok()?, high.parse().ok()?);
        for number in from..=to {
            let width = low.len();
            expand_one(&format!("{before}{number:0width$}{after}"), out)?;
        }
    }
    Some(())
}

/// The names as one list: runs of numbers behind the same beginning become one bracket. Names that
/// do not end in digits stand as they are.
pub fn compress(names: &[String]) -> String {
    let mut numbered: std::collections::BTreeMap<(&str, usize), Vec<u64>> =
        std::collections::BTreeMap::new();
    let mut out: Vec<String> = Vec::new();
    for name in names {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = name.get(stem.len()..).unwrap_or_default();
        match digits.parse() {
            Ok(number) => numbered
                .entry((stem, digits.len()))
                .or_default()
                .push(number),
            Err(_) => out.push(name.clone()),
        }
    }
    for ((stem, width), mut numbers) in numbered {
        numbers.sort_unstable();
        numbers.dedup();
        out.push(in_brackets(stem, width, &numbers));
    }
    out.join(",")
}

fn in_brackets(stem: &str, width: usize, numbers: &[u64]) -> String {
    if let [one] = numbers {
        return format!("{stem}{one:0width$}");
    }
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let run = |(low, high): &(u64, u64)| {
        if low == high {
            format!("{low:0width$}")
        } else {
            format!("{low:0width$}-{high:0width$}")
        }
    };
    let runs: Vec<String> = runs.iter().map(run).collect();
    format!("{stem}[{}]", runs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_as_slurm_writes_them_are_read() {
        for (list, names) in [
            ("a1,h[1-2]", vec!["a1", "h1", "h2"]),
            ("n[08-10,12]", vec!["n08", "n09", "n10", "n12"]),
            ("r[1-2]n[1-2]", vec!["r1n1", "r1n2", "r2n1", "r2n2"]),
            ("gpu[1]-ib", vec!["gpu1-ib"]),
            ("", vec![]),
        ] {
            assert_eq!(expand(list).unwrap(), names, "{list}");
        }
        for wrong in ["n[1-", "n[a-b]", "n]1", "n[1-999999999]"] {
            assert_eq!(expand(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_list_that_is_written_is_read_back(
            names in prop::collection::btree_set("[a-z]{1,3}[0-9]{0,3}", 0..40)
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let mut back = expand(&compress(&names)).unwrap();
            back.sort();
            prop_assert_eq!(back, names);
        }

        #[test]
        fn no_text_panics(text in "[a-z0-9\\[\\],-]{0,30}") {
            drop(expand(&text));
        }
    }
}
