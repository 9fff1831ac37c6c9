//! What a submission was given of the `--llm-*` options: values as the plugin kept them, and what they mean.

use std::ffi::CString;

use model_store::options::{AdviceMode, OPTIONS, OptionError, RawOptions};
use plugin_contract::options::MODEL;
use plugin_contract::question::Question;

use crate::ffi;

/// What one submission (one component of it) was given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Typed {
    /// The values that were taken.
    pub(crate) options: RawOptions,
    /// The first value that was not, in the order of the table.
    pub(crate) wrong: Option<OptionError>,
    /// True where a model is named, be it one that is not taken: without one nobody asks for advice.
    pub(crate) tagged: bool,
}

impl Typed {
    /// Reads what the plugin kept.
    pub(crate) fn of(question: &Question) -> Self {
        let mut typed = Self::default();
        for (spec, value) in OPTIONS.iter().zip(question.values) {
            if let Some(value) = ffi::text(value) {
                typed.take(spec.name, &readable(value));
            }
        }
        typed
    }

    /// True where a wrong value does no harm: no model is named, or the advice is off.
    pub(crate) fn asks_for_nothing(&self) -> bool {
        !self.tagged || self.options.mode == AdviceMode::Off
    }

    fn take(&mut self, name: &str, value: &str) {
        self.tagged |= name == OPTIONS[MODEL].name;
        if let Err(error) = self.options.set(name, value) {
            self.wrong.get_or_insert(error);
        }
    }
}

/// Bytes that are no UTF-8 become the replacement character, which no option takes for more than a name.
fn readable(text: CString) -> String {
    text.into_string().unwrap_or_else(|error| {
        String::from_utf8_lossy(error.into_cstring().as_bytes()).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_value_of_the_table_is_told() {
        let mut typed = Typed::default();
        typed.take("llm-gpu", "a100:4");
        typed.take("llm-tp", "nonsense");
        assert!(!typed.tagged && typed.asks_for_nothing());
        typed.take("llm-model", "a");
        assert!(typed.tagged && !typed.asks_for_nothing());
        assert_eq!(typed.options.model.as_deref(), Some("a"));
        assert!(typed.wrong.unwrap().reason.contains("--llm-gpu=a100:4"));
    }

    proptest::proptest! {
        #[test]
        fn no_value_does_any_harm(number in 0..OPTIONS.len(), value in proptest::collection::vec(1_u8..=255, 0..2000)) {
            let mut typed = Typed::default();
            typed.take(OPTIONS[number].name, &readable(ffi::c_string(value)));
            proptest::prop_assert!(typed.wrong.is_none_or(|error| !error.reason.contains('\n')));
        }
    }
}
