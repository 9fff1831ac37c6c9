//! Keys of a JSON object, taken one by one; what nobody took is kept.

use std::borrow::Cow;

use advisor::python_json::with_infinity_as;
use serde_json::{Map, Value};

/// Most characters of one kept value.
const LONGEST: usize = 80;
/// Most kept values.
const MOST: usize = 40;
/// No figure of any unit is larger; beyond it, seconds told in milliseconds could end up infinite.
const LARGEST: f64 = 1e15;

/// An object of which keys are taken.
pub(super) struct Bag<'a> {
    object: Option<&'a Map<String, Value>>,
    taken: Vec<&'a str>,
}

impl<'a> Bag<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        Self {
            object: value.as_object(),
            taken: Vec::new(),
        }
    }

    /// The value of the first of these keys that is there.
    pub(super) fn take(&mut self, keys: &[&str]) -> Option<&'a Value> {
        let object = self.object?;
        let (key, value) = keys.iter().find_map(|k| object.get_key_value(*k))?;
        self.taken.push(key);
        Some(value).filter(|v| !v.is_null())
    }

    /// The same without these keys, which were read otherwise.
    pub(super) fn without(mut self, keys: &[&'a str]) -> Self {
        self.taken.extend(keys);
        self
    }

    /// A number from 0 up.
    pub(super) fn number(&mut self, keys: &[&str]) -> Option<f64> {
        self.take(keys).and_then(as_number)
    }

    /// A number above 0.
    pub(super) fn positive(&mut self, keys: &[&str]) -> Option<f64> {
        self.number(keys).filter(|x| *x > 0.0)
    }

    /// A text; empty where it is not there.
    pub(super) fn text(&mut self, keys: &[&str]) -> String {
        self.take(keys).and_then(as_text).unwrap_or_default()
    }

    /// A count from 1 up.
    pub(super) fn count(&mut self, keys: &[&str]) -> Option<u32> {
        self.take(keys).and_then(as_count)
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, keys: &[&str]) -> Option<bool> {
        self.take(keys).and_then(as_flag)
    }

    /// What was not taken, as `name=value`: plain values, short ones, and of a statistic its mean with its unit.
    pub(super) fn rest(&self) -> Vec<String> {
        let object = self.object.into_iter().flatten();
        let left = object.filter(|(k, v)| !self.taken.contains(&k.as_str()) && !v.is_null());
        left.filter_map(|(k, v)| Some((k, in_brief(v)?)))
            .filter(|(k, v)| v.len() <= LONGEST && k.len() <= LONGEST && !v.is_empty())
            .map(|(k, v)| format!("{k}={v}").replace(|c: char| c.is_control() || c == ';', " "))
            .take(MOST)
            .collect()
    }
}

/// A plain value, or the mean of a statistic; `None` for any other object, and for a list.
fn in_brief(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) => None,
        Value::Object(map) => {
            // GuideLLM has one statistic for each end of a request.
            let of = map.get("successful").unwrap_or(value);
            let mean = of.get("avg").or_else(|| of.get("mean"))?.as_f64()?;
            let unit = of.get("unit").or_else(|| of.get("units"));
            let unit = unit.and_then(Value::as_str).unwrap_or_default();
            Some(format!("{mean} {unit}").trim_end().to_owned())
        }
        other => Some(other.to_string()),
    }
}

/// A number from 0 to [`LARGEST`]; a number in quotes counts.
pub(super) fn as_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        other => other.as_f64()?,
    };
    (0.0..=LARGEST).contains(&number).then_some(number)
}

/// Yes or no, as a truth value, a number or a word.
pub(super) fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::Number(n) => n.as_f64().map(|x| x != 0.0),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Some(true),
            "false" | "off" | "no" | "0" | "none" | "null" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A text, or a number as it was written: versions like 0.9 are numbers to YAML.
pub(super) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

/// A count from 1 up.
pub(super) fn as_count(value: &Value) -> Option<u32> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // filtered
    as_number(value)
        .filter(|x| x.fract() == 0.0 && (1.0..=65_536.0).contains(x))
        .map(|x| x as u32)
}

/// Requests/s that were asked for: infinite where all come at once.
pub(super) fn rate(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::String(text) if text.trim().eq_ignore_ascii_case("inf") => Some(f64::INFINITY),
        other => as_number(other).filter(|r| *r > 0.0),
    }
}

/// The first value under this path of keys, wherever in the document the path begins.
pub(super) fn find<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let here = path.iter().try_fold(value, |v, key| v.get(key));
    here.filter(|v| !v.is_null()).or_else(|| match value {
        Value::Object(map) => map.values().find_map(|v| find(v, path)),
        Value::Array(all) => all.iter().find_map(|v| find(v, path)),
        _ => None,
    })
}

/// A text under a path, wherever it begins; the first of a list of texts.
pub(super) fn find_text(value: &Value, path: &[&str]) -> String {
    let found = find(value, path);
    let first = found.map(|v| v.get(0).unwrap_or(v));
    first.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// JSON as Python writes it: bare `NaN` and `Infinity` become null and "inf", outside of texts.
pub(super) fn python_json(text: &str) -> Cow<'_, str> {
    with_infinity_as(text, "\"inf\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pythons_numbers_become_json_and_texts_stay() {
        let text = r#"{"a": NaN, "b": [Infinity, -Infinity], "c": "NaN \" Infinity"}"#;
        let value: Value = serde_json::from_str(&python_json(text)).unwrap();
        assert_eq!(value["a"], Value::Null);
        assert_eq!(rate(Some(&value["b"][0])), Some(f64::INFINITY));
        assert_eq!(value["c"], "NaN \" Infinity");
    }

    proptest! {
        #[test]
        fn json_without_such_numbers_stays_what_it_is(text in "\\PC{0,60}", n in -1e9..1e9f64) {
            let value = serde_json::json!({ "NaN": text, "Infinity": [n, "-Infinity", null] });
            let text = value.to_string();
            prop_assert_eq!(&*python_json(&text), text.as_str());
        }
    }
}
