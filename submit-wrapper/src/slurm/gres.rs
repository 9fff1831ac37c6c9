//! GPUs in Slurm's two ways of writing resources: `gpu:h100:8(IDX:0-7)` and `gres/gpu:h100=8`.

/// GPUs of one type; the type is empty where the text does not tell it.
pub(crate) type Gpus = Vec<(String, u32)>;

/// The GPUs of a list of generic resources, as nodes and requests have it: `gpu:a100:8(S:0-1)`,
/// `gres:gpu:8`, `gres/gpu:h100:2`, `gpu`. Types as they are spelled, one entry each, in order.
pub(crate) fn parse(text: &str) -> Gpus {
    let mut gpus = Gpus::new();
    for item in split_outside_parentheses(text) {
        let item = item.split('(').next().unwrap_or_default().trim();
        let item = item
            .strip_prefix("gres:")
            .or_else(|| item.strip_prefix("gres/"))
            .unwrap_or(item);
        if let Some((gres, count)) = one(item) {
            add(&mut gpus, gres, count);
        }
    }
    gpus
}

/// `gpu[:TYPE][:no_consume][:COUNT]`
fn one(item: &str) -> Option<(&str, u32)> {
    let mut words = item.split(':').filter(|w| *w != "no_consume");
    if words.next()? != "gpu" {
        return None;
    }
    let (second, third) = (words.next(), words.next());
    match (second, third) {
        (None, _) => Some(("", 1)),
        (Some(gres), Some(count)) => Some((gres, count.parse().ok()?)),
        (Some(word), None) => Some(word.parse().map_or((word, 1), |count| ("", count))),
    }
}

/// The GPUs of a list of trackable resources: `cpu=1,gres/gpu=5,gres/gpu:h100=5`. The total without
/// a type is taken only where no type is named; it counts the same GPUs again.
pub(crate) fn parse_tres(text: &str) -> Gpus {
    let mut gpus = Gpus::new();
    let mut untyped = 0;
    for item in text.split(',') {
        let Some((name, count)) = item.split_once('=') else {
            continue;
        };
        let Ok(count) = count.trim().parse::<u32>() else {
            continue;
        };
        match name.trim().strip_prefix("gres/gpu") {
            Some("") => untyped = count,
            Some(gres) if gres.starts_with(':') => add(&mut gpus, &gres[1..], count),
            _ => {}
        }
    }
    if gpus.is_empty() && untyped > 0 {
        add(&mut gpus, "", untyped);
    }
    gpus
}

/// Adds to the entry of the type.
pub(crate) fn add(gpus: &mut Gpus, gres: &str, count: u32) {
    match gpus.iter_mut().find(|(name, _)| *name == gres) {
        Some((_, total)) => *total = total.saturating_add(count),
        None => gpus.push((gres.to_owned(), count)),
    }
}

/// The count of one type; 0 where it is not there.
pub(crate) fn count(gpus: &Gpus, gres: &str) -> u32 {
    gpus.iter()
        .find(|(name, _)| name == gres)
        .map_or(0, |(_, count)| *count)
}

/// The generic resources of a node that are no GPUs: `name` or `name:type`, and how many.
pub(crate) fn others(text: &str) -> Vec<(String, u64)> {
    let one = |item: &str| {
        let item = item.split('(').next().unwrap_or_default().trim();
        let words: Vec<&str> = item.split(':').filter(|w| *w != "no_consume").collect();
        let (name, rest) = words.split_first()?;
        if name.is_empty() || matches!(*name, "gpu" | "(null)" | "N/A") {
            return None;
        }
        match rest {
            [] => Some(((*name).to_owned(), 1)),
            [count] => Some(((*name).to_owned(), amount(count)?)),
            [kind, count, ..] => Some((format!("{name}:{kind}"), amount(count)?)),
        }
    };
    let items = split_outside_parentheses(text);
    items.into_iter().filter_map(one).collect()
}

/// `4` or `2K`
fn amount(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1024),
        None => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0u32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(items: &[(&str, u32)]) -> Gpus {
        items.iter().map(|(g, n)| ((*g).to_owned(), *n)).collect()
    }

    #[test]
    fn every_spelling_of_a_resource_is_read() {
        assert_eq!(parse("gpu:a100:8(S:0-1)"), gpus(&[("a100", 8)]));
        assert_eq!(
            parse("gpu:A100:2(IDX:0,3),shard:0,gpu:h100:4"),
            gpus(&[("A100", 2), ("h100", 4)])
        );
        assert_eq!(parse("gres:gpu:8"), gpus(&[("", 8)]));
        assert_eq!(parse("gres/gpu:h100:2"), gpus(&[("h100", 2)]));
        assert_eq!(parse("gpu:tesla:no_consume:4"), gpus(&[("tesla", 4)]));
        assert_eq!(parse("gpu:h100"), gpus(&[("h100", 1)]));
        assert_eq!(parse("gpu"), gpus(&[("", 1)]));
        for none in ["(null)", "N/A", "", "shard:4", "gpu:a100:x", "mps:gpu:4"] {
            assert_eq!(parse(none), gpus(&[]), "{none}");
        }
    }

    #[test]
    fn what_is_no_gpu_is_read_apart() {
        let all = others("gpu:a100:8(S:0-1),shard:32,lustre:1,nic:mlx5:2,mem:2K");
        let told: Vec<_> = all.iter().map(|(n, c)| (n.as_str(), *c)).collect();
        assert_eq!(
            told,
            [("shard", 32), ("lustre", 1), ("nic:mlx5", 2), ("mem", 2048)]
        );
        assert_eq!(others("(null)"), []);
    }

    #[test]
    fn a_total_without_type_is_not_counted_beside_types() {
        assert_eq!(
            parse_tres("cpu=1,mem=1G,gres/gpu=5,gres/gpu:h100=5"),
            gpus(&[("h100", 5)])
        );
        assert_eq!(
            parse_tres("gres/gpu:h100=1,gres/gpu:h200=1,gres/gpu=2"),
            gpus(&[("h100", 1), ("h200", 1)])
        );
        assert_eq!(parse_tres("cpu=1,gres/gpu=8"), gpus(&[("", 8)]));
        assert_eq!(parse_tres("cpu=1,gres/gpumem=8,gres/gpu:h100=x"), gpus(&[]));
    }
}
