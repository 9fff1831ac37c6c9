//! Numbers as people and engines write them: tokens, times and rates with a unit. Pure.

/// A number with the unit behind it, such as `0.6s`: the number and the unit, which may be empty.
fn parted(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic() || c == '/');
    let (digits, unit) = text.split_at(unit.unwrap_or(text.len()));
    let number = digits.trim().parse::<f64>().ok()?;
    (number.is_finite() && number >= 0.0).then_some((number, unit.trim()))
}

/// A number of tokens: `32768`, `32k` (thousands) or `32K` (of 1,024), as vLLM reads them.
pub fn tokens(text: &str) -> Option<f64> {
    let (number, unit) = parted(text)?;
    Some(
        number
            * match unit {
                "" => 1.0,
                "k" => 1e3,
                "K" | "Ki" => 1024.0,
                "m" => 1e6,
                "M" | "Mi" => 1_048_576.0,
                _ => return None,
            },
    )
}

/// A time in milliseconds: `600`, `600ms`, `0.6s` or `1min`.
pub fn milliseconds(text: &str) -> Option<f64> {
    let (number, unit) = parted(text)?;
    Some(
        number
            * match unit.to_ascii_lowercase().as_str() {
                "" | "ms" => 1.0,
                "s" | "sec" => 1e3,
                "m" | "min" => 6e4,
                _ => return None,
            },
    )
}

/// A rate in 1/s: `2.5`, `2.5/s`, `30/min` or `100/h`.
pub fn per_second(text: &str) -> Option<f64> {
    let (number, unit) = parted(text)?;
    let per = unit.strip_prefix('/').unwrap_or(unit);
    Some(
        number
            / match per.trim().to_ascii_lowercase().as_str() {
                "" | "s" | "sec" => 1.0,
                "m" | "min" => 60.0,
                "h" | "hour" => 3600.0,
                _ => return None,
            },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_read_as_people_write_them() {
        assert_eq!(tokens("128k"), Some(128_000.0));
        assert_eq!(tokens("128K"), Some(131_072.0));
        assert_eq!(milliseconds("0.6s"), Some(600.0));
        assert_eq!(milliseconds("50 ms"), Some(50.0));
        assert_eq!(per_second("30/min"), Some(0.5));
        assert_eq!(per_second("2.5"), Some(2.5));
        for wrong in ["", "k", "-1", "1e3k k", "nan", "1x", "1,5"] {
            assert_eq!(tokens(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_negative_or_endless_number(text in "\\PC{0,12}|-?[0-9.]{0,6}[a-zA-Z/]{0,4}") {
            for number in [tokens(&text), milliseconds(&text), per_second(&text)].into_iter().flatten() {
                prop_assert!(number >= 0.0, "{}", text);
            }
        }
    }
}
