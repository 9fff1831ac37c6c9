//! Reads the Prometheus text format: one sample a line, names with colons, labels with escapes.
//! A line that is no sample is passed over; a page is never refused for one of them.

use std::borrow::Cow;

/// One sample of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    /// Metric name, such as `vllm:generation_tokens_total`.
    pub(crate) name: &'a str,
    /// What stands between the braces; empty where there are none.
    labels: &'a str,
    /// The value; NaN and infinities as they stand.
    pub(crate) value: f64,
}

impl<'a> Sample<'a> {
    /// The labels as they stand, but for those of these names.
    pub(crate) fn labels_without(&self, names: &[&str]) -> Cow<'a, str> {
        if !names.iter().any(|name| self.labels.contains(name)) {
            return Cow::Borrowed(self.labels);
        }
        let mut left = String::with_capacity(self.labels.len());
        for (name, value) in Labels(self.labels).filter(|(name, _)| !names.contains(name)) {
            left.extend([name, "=\"", value, "\","]);
        }
        Cow::Owned(left)
    }

    /// The raw value of a label, its escapes left as they are.
    pub(crate) fn label(&self, name: &str) -> Option<&'a str> {
        Labels(self.labels)
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }
}

/// The samples of a page, in order.
pub(crate) fn samples(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines().filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => inside.split_at_checked(closing_brace(inside)?)?,
        None => ("", rest),
    };
    // A time stamp or an exemplar may follow the value.
    let value = rest
        .trim_start_matches('}')
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    (!name.is_empty()).then_some(Sample {
        name,
        labels,
        value,
    })
}

/// Where the labels end: at the first brace outside quotes.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|b| {
        let here = std::mem::take(&mut escaped);
        match b {
            _ if here => {}
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
        b == b'}' && !quoted
    })
}

/// Names and raw values of labels.
struct Labels<'a>(&'a str);

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_once("=\"")?;
        let end = closing_quote(rest)?;
        let (value, rest) = rest.split_at_checked(end)?;
        self.0 = rest.get(1..).unwrap_or_default();
        Some((name.trim_start_matches([',', ' ']).trim_end(), value))
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|b| {
        let here = std::mem::take(&mut escaped);
        escaped = b == b'\\' && !here;
        b == b'"' && !here
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str) -> Option<Sample<'_>> {
        samples(line).next()
    }

    #[test]
    fn names_with_colons_labels_and_numbers() {
        let s = one(
            "vllm:x_total{engine=\"0\",model_name=\"a \\\"}\\\" b\", reason=\"\"} 1.5e3 1700000000",
        )
        .unwrap();
        assert_eq!((s.name, s.value), ("vllm:x_total", 1500.0));
        assert_eq!(s.label("engine"), Some("0"));
        assert_eq!(s.label("model_name"), Some("a \\\"}\\\" b"));
        assert_eq!((s.label("reason"), s.label("none")), (Some(""), None));
        assert_eq!(one("up 1").unwrap().value, 1.0);
        assert_eq!(
            one("x{} +Inf # {trace=\"1\"} 2").unwrap().value,
            f64::INFINITY
        );
        assert!(one("x NaN").unwrap().value.is_nan());
    }

    #[test]
    fn what_is_no_sample_is_passed_over() {
        for line in [
            "",
            "# TYPE x counter",
            "x",
            "x{a=\"b\" 1",
            "x{a=\"b\"}",
            "x one",
            "{} 1",
        ] {
            assert_eq!(one(line), None, "{line}");
        }
        assert_eq!(samples("x one\ny 2\n").count(), 1);
    }

    proptest! {
        #[test]
        fn no_page_panics(page in any::<String>(), inside in any::<String>()) {
            for sample in samples(&page).chain(samples(&format!("a{{b=\"{inside}\"}} 1"))) {
                let _ = sample.label("b");
            }
        }

        #[test]
        fn a_written_sample_is_read(
            name in "[a-z_:][a-z0-9_:]{0,20}", value in any::<f64>().prop_filter("a number", |v| !v.is_nan()), label in "[^\"\\\\\r\n]*",
        ) {
            let line = format!("{name}{{engine=\"{label}\"}} {value}");
            let found: Vec<Sample> = samples(&line).collect();
            // A label may hold what a line reader takes as a line's end.
            prop_assume!(line.lines().count() == 1);
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!((found[0].name, found[0].value, found[0].label("engine")), (name.as_str(), value, Some(label.as_str())));
        }
    }
}
