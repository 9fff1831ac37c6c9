//! Versions of engines as numbers.

/// The first three numbers of a version as one (`0.11.2` is 11.02); not a number where there is
/// none, and for dates.
pub(super) fn version(text: &str) -> f64 {
    let head = text.split('(').next().unwrap_or_default();
    let mut numbers = head
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|p| p.parse::<f64>().ok());
    let Some(major) = numbers.next().filter(|m| *m < 1000.0) else {
        return f64::NAN;
    };
    major * 100.0 + numbers.next().unwrap_or(0.0) + numbers.next().unwrap_or(0.0) / 100.0
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_ordered_as_people_read_them() {
        let ordered = ["0.5.4 (2024-09)", "v0.11.2", "0.17", "1.0", "1.2", "1.2.1"];
        let numbers: Vec<f64> = ordered.iter().map(|v| version(v)).collect();
        assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
    }
}
