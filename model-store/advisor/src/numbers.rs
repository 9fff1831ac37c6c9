//! Numbers as people read them.

/// Three significant digits, thousands separated: `2,310`, `0.63`.
pub fn grouped(x: f64) -> String {
    if !x.is_finite() {
        return "not known".into();
    }
    if x.abs() < 100.0 {
        let digits = if x.abs() < 1.0 {
            3
        } else if x.abs() < 10.0 {
            2
        } else {
            1
        };
        return format!("{x:.digits$}");
    }
    let step = 10f64.powi((x.abs().log10().floor() as i32 - 2).max(0));
    let digits = format!("{:.0}", (x / step).round() * step);
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && c.is_ascii_digit() {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A count to the last digit: `9,083`.
pub fn grouped_count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|c| std::str::from_utf8(c).unwrap_or(""))
        .collect();
    groups.join(",")
}

/// A count with its noun: `1 run`, `9,083 runs`, `2 launches`.
pub fn count_of(n: impl TryInto<u64>, noun: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    let s = match n {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {noun}{s}", grouped_count(n))
}

/// A large count: `8.32 M`.
pub(super) fn short(x: f64) -> String {
    if x >= 1e6 {
        format!("{:.2} M", x / 1e6)
    } else {
        grouped(x)
    }
}
