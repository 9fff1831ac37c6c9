//! The measured runs that a search for the nearest one looks through: tables, so that a snapshot is
//! read without a thousand small strings.

use serde::{Deserialize, Serialize};

use super::packed;

/// Numbers of a landmark: logarithms of parameters (billions), context and sequences in flight.
const NUMBERS: usize = 3;

/// Codes of a landmark: source, family, patch, model, TP.
const CODES: usize = 5;

/// One measured run, as far as the search for the nearest one needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Landmark {
    /// Which one, in the order of the table.
    index: usize,
    /// Index into the envelope's sources.
    pub source: u16,
    /// Index into the envelope's families.
    pub family: u16,
    /// Index into the envelope's patches.
    pub patch: u16,
    /// Index into the names of models.
    model: u16,
    /// Tensor-parallel degree.
    pub tp: u16,
    /// Logarithms of parameters (billions), context and sequences in flight.
    pub at: [f32; NUMBERS],
}

/// One run of each distinct configuration and cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Landmarks {
    #[serde(with = "packed::floats")]
    numbers: Vec<f32>,
    #[serde(with = "packed::halves")]
    codes: Vec<i16>,
    /// Names of the runs, each ended by a line feed.
    run_ids: String,
    /// Names of the models.
    models: Vec<String>,
}

/// What is added.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// Name of the run.
    pub run_id: &'a str,
    /// Index into the envelope's sources.
    pub source: usize,
    /// Model card.
    pub model: &'a str,
    /// Index into the envelope's families.
    pub family: usize,
    /// Index into the envelope's patches.
    pub patch: usize,
    /// Tensor-parallel degree.
    pub tp: u32,
    /// Parameters (billions), context (tokens), sequences in flight.
    pub at: [f64; NUMBERS],
}

impl Landmarks {
    /// Adds a run, unless one of the last few is the same but for its name.
    pub fn add(&mut self, run: Measured) {
        let code = |i: usize| u16::try_from(i).unwrap_or(u16::MAX);
        let model = match self.models.iter().position(|m| m == run.model) {
            Some(at) => at,
            None => {
                self.models.push(run.model.to_owned());
                self.models.len() - 1
            }
        };
        let tp = u16::try_from(run.tp).unwrap_or(u16::MAX);
        let at = [run.source, run.family, run.patch, model].map(code);
        let [source, family, patch, model] = at;
        let codes = [source, family, patch, model, tp].map(|c| c as i16);
        let numbers = run.at.map(|x| x.ln() as f32);
        // A second laboratory with the same says no more of where runs are.
        let known = |(n, c): (&[f32], &[i16])| n == numbers && c.iter().skip(1).eq(&codes[1..]);
        let mut last = self
            .numbers
            .chunks_exact(NUMBERS)
            .zip(self.codes.chunks_exact(CODES))
            .rev();
        if last.by_ref().take(64).any(known) {
            return;
        }
        self.numbers.extend(numbers);
        self.codes.extend(codes);
        // Names come from outside; a line feed in one must not move the others.
        self.run_ids.push_str(&run.run_id.replace('\n', " "));
        self.run_ids.push('\n');
    }

    /// Keeps `most` of them, evenly: beyond some thousands a nearer one is hardly nearer.
    pub fn thin(&mut self, most: usize) {
        let n = self.numbers.len() / NUMBERS;
        if n <= most {
            return;
        }
        let kept = |i: &usize| i * most / n != (i + 1) * most / n;
        let chosen: Vec<usize> = (0..n).filter(kept).collect();
        let rows = |width: usize| chosen.iter().flat_map(move |i| i * width..(i + 1) * width);
        let numbers = rows(NUMBERS).filter_map(|at| self.numbers.get(at).copied());
        let codes = rows(CODES).filter_map(|at| self.codes.get(at).copied());
        let (numbers, codes) = (numbers.collect(), codes.collect());
        let mut at = 0;
        let named = self.run_ids.split_inclusive('\n').filter(|_| {
            at += 1;
            kept(&(at - 1))
        });
        self.run_ids = named.collect();
        self.numbers = numbers;
        self.codes = codes;
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Landmark> + '_ {
        let numbers = self.numbers.chunks_exact(NUMBERS);
        let both = numbers.zip(self.codes.chunks_exact(CODES)).enumerate();
        both.filter_map(|(index, (numbers, codes))| {
            let [source, family, patch, model, tp] = <[i16; CODES]>::try_from(codes).ok()?;
            Some(Landmark {
                index,
                source: source as u16,
                family: family as u16,
                patch: patch as u16,
                model: model as u16,
                tp: tp as u16,
                at: numbers.try_into().ok()?,
            })
        })
    }

    /// Name of the run.
    pub fn run_id(&self, l: &Landmark) -> &str {
        self.run_ids.split('\n').nth(l.index).unwrap_or_default()
    }

    /// Model of the run.
    pub fn model(&self, l: &Landmark) -> &str {
        self.models
            .get(usize::from(l.model))
            .map_or("", String::as_str)
    }

    /// True where every index points somewhere and every number is finite.
    /// Takes the numbers of sources, families and patches.
    pub fn is_sound(&self, [sources, families, patches]: [usize; 3]) -> bool {
        let inside = |l: Landmark| {
            usize::from(l.source) < sources
                && usize::from(l.family) < families
                && usize::from(l.patch) < patches
                && usize::from(l.model) < self.models.len()
        };
        self.numbers.len() / NUMBERS == self.codes.len() / CODES
            && self.numbers.iter().all(|x| x.is_finite())
            && self.iter().all(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_added_is_found_again(names in prop::collection::vec(".{0,12}", 1..40)) {
            let mut all = Landmarks::default();
            for (i, name) in names.iter().enumerate() {
                let at = [i as f64 + 1.0, 2.0, 3.0];
                let run = Measured { run_id: name, source: 0, model: "m", family: 1, patch: 2, tp: 4, at };
                all.add(run);
                all.add(run);
            }
            let found: Vec<String> = all.iter().map(|l| all.run_id(&l).to_owned()).collect();
            let told: Vec<String> = names.iter().map(|n| n.replace('\n', " ")).collect();
            prop_assert_eq!(found, told);
            let most = names.len().div_ceil(2);
            let mut fewer = all.clone();
            fewer.thin(most);
            prop_assert_eq!(fewer.iter().count(), most);
            for l in fewer.iter() {
                let i = (f64::from(l.at[0]).exp() - 1.0).round() as usize;
                prop_assert_eq!(fewer.run_id(&l), names[i].replace('\n', " "));
            }
            prop_assert!(all.is_sound([1, 2, 3]) && !all.is_sound([0, 2, 3]));
            prop_assert!(!all.is_sound([1, 1, 3]) && !all.is_sound([1, 2, 2]));
        }
    }
}
