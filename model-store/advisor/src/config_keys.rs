//! Values of a `config.json` by the keys of an architecture, with its defaults; what is no number where one is meant is an error with the
//! key's name.

use serde_json::{Map, Value};

use super::architecture::{Architecture, CONTEXT};
use super::card::CardError;

/// What every mixer needs to know of a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub layers: u32,
    pub hidden: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub value_dim: u32,
    pub intermediate: u32,
    pub vocab: u32,
}

/// Largest count that is believed.
const MOST: u32 = 1 << 27;
/// Most layers that are believed.
pub(super) const MOST_LAYERS: u32 = 4096;

/// The part of a file that describes the language model.
#[derive(Clone, Copy)]
pub(super) struct Config<'a> {
    /// Its keys.
    pub part: &'a Map<String, Value>,
    /// The whole file.
    pub whole: &'a Map<String, Value>,
    /// How they are read.
    pub row: &'static Architecture,
}

fn not(key: &str) -> CardError {
    CardError::NotUnderstood(key.to_owned())
}

impl<'a> Config<'a> {
    /// What the file has under a key; null is an answer of its own.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.part.get(key)
    }

    /// The number under the first of these keys that the file has, else the configuration class's. `None`
    /// where there is neither, or where the file says null.
    pub(super) fn number(&self, keys: &[&str]) -> Result<Option<u32>, CardError> {
        let mut null = false;
        for key in keys {
            match self.get(key) {
                None => {}
                Some(Value::Null) => null = true,
                Some(value) => return one_number(value).map(Some).ok_or_else(|| not(key)),
            }
        }
        let default = || keys.iter().find_map(|k| self.row.default_of(k));
        Ok(if null { None } else { default() })
    }

    /// [`Self::number`], which has to be there and above 0.
    pub(super) fn need(&self, keys: &[&'static str]) -> Result<u32, CardError> {
        let name = keys.first().copied().unwrap_or_default();
        self.number(keys)?
            .filter(|n| *n > 0)
            .ok_or(CardError::Missing(name))
    }

    /// [`Self::number`] or 0.
    pub(super) fn or_zero(&self, keys: &[&str]) -> Result<u32, CardError> {
        Ok(self.number(keys)?.unwrap_or(0))
    }

    /// [`Self::number`] as a real one.
    pub(super) fn real(&self, keys: &[&'static str]) -> Result<f64, CardError> {
        self.need(keys).map(f64::from)
    }

    /// Spellings of one thing must agree where a file has several.
    pub(super) fn agree(&self, keys: &[&'static str]) -> Result<(), CardError> {
        let mut first = None;
        for key in keys {
            let Some(value) = self.get(key).filter(|v| !v.is_null()) else {
                continue;
            };
            let number = one_number(value).ok_or_else(|| not(key))?;
            if *first.get_or_insert(number) != number {
                return Err(not(key));
            }
        }
        Ok(())
    }

    /// A yes or no.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, CardError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(yes)) => Ok(Some(*yes)),
            Some(_) => Err(not(key)),
        }
    }

    /// A list with one word for each layer.
    pub(super) fn words(&self, key: &str, layers: u32) -> Result<Option<Vec<&'a str>>, CardError> {
        let Some(value) = self.get(key).filter(|v| !v.is_null()) else {
            return Ok(None);
        };
        let list = value.as_array().ok_or_else(|| not(key))?;
        let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        words
            .filter(|w| w.len() == layers as usize)
            .map(Some)
            .ok_or_else(|| not(key))
    }

    /// A list of numbers.
    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<u32>>, CardError> {
        let Some(value) = self.get(key).filter(|v| !v.is_null()) else {
            return Ok(None);
        };
        let list = value.as_array().ok_or_else(|| not(key))?;
        let numbers: Option<Vec<u32>> = list.iter().map(whole_number).collect();
        numbers.map(Some).ok_or_else(|| not(key))
    }

    /// A list of numbers, one for each layer.
    pub(super) fn numbers_of_layers(
        &self,
        key: &str,
        layers: u32,
    ) -> Result<Option<Vec<u32>>, CardError> {
        let list = self.numbers(key)?;
        match list {
            Some(list) if list.len() != layers as usize => Err(not(key)),
            list => Ok(list),
        }
    }

    /// A list of layers, in order of their numbers, each below `layers`.
    pub(super) fn layers(&self, key: &str, layers: u32) -> Result<Option<Vec<u32>>, CardError> {
        let list = self.numbers(key)?;
        match list {
            Some(list) if list.iter().any(|at| *at >= layers) => Err(not(key)),
            list => Ok(list),
        }
    }

    /// Longest context: the least of what the keys of length say, stretched as vLLM does for the kind of
    /// rotary scaling.
    pub(super) fn context(&self) -> Result<u32, CardError> {
        let mut least: Option<u32> = None;
        for key in CONTEXT {
            let Some(value) = self.get(key).filter(|v| !v.is_null()) else {
                continue;
            };
            // Some files write an infinity, as a number of 30 digits.
            let length = value
                .as_f64()
                .filter(|n| *n >= 1.0)
                .ok_or_else(|| not(key))?;
            let length = length.min(f64::from(MOST)) as u32;
            least = Some(least.map_or(length, |l| l.min(length)));
        }
        let least = least
            .or_else(|| CONTEXT.iter().find_map(|k| self.row.default_of(k)))
            .unwrap_or(2048);
        let stretched = f64::from(least) * 1.0;
        Ok(self.stretch(stretched)?.min(f64::from(MOST)) as u32)
    }

    fn stretch(&self, plain: f64) -> Result<f64, CardError> {
        let key = ["rope_scaling", "rope_parameters"]
            .into_iter()
            .find(|k| self.get(k).is_some_and(|v| !v.is_null()));
        let Some(key) = key else { return Ok(plain) };
        let rope = self
            .get(key)
            .and_then(Value::as_object)
            .ok_or_else(|| not(key))?;
        // One set for each kind of layer: the length that the file states holds already.
        if rope.values().any(Value::is_object) || self.row.family == "gemma" {
            return Ok(plain);
        }
        let kind = ["rope_type", "type"]
            .iter()
            .find_map(|k| rope.get(*k))
            .and_then(Value::as_str)
            .unwrap_or("default");
        let number = |name: &str| rope.get(name).and_then(Value::as_f64);
        let factor = || {
            number("factor")
                .filter(|f| (1.0..=1024.0).contains(f))
                .ok_or_else(|| not(key))
        };
        match kind {
            "default" | "mrope" | "llama3" | "longrope" | "su" | "proportional" | "none" => {
                Ok(plain)
            }
            "linear" | "dynamic" | "ntk" => Ok(plain * factor()?),
            "yarn" | "deepseek_yarn" => {
                Ok(number("original_max_position_embeddings").unwrap_or(plain) * factor()?)
            }
            _ => Err(not(&format!("{key}.type"))),
        }
    }
}

/// A whole number from 0 on; one for all layers where a list says the same of each.
fn one_number(value: &Value) -> Option<u32> {
    match value {
        Value::Array(list) => {
            let first = list.first().and_then(whole_number)?;
            list.iter()
                .all(|v| whole_number(v) == Some(first))
                .then_some(first)
        }
        other => whole_number(other),
    }
}

fn whole_number(value: &Value) -> Option<u32> {
    let n = value.as_f64()?;
    (n.fract() == 0.0 && (0.0..=f64::from(MOST)).contains(&n)).then_some(n as u32)
}
