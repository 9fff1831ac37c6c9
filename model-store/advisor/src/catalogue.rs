//! Cards by the names under which models are known.

use serde::{Deserialize, Serialize};

use super::card::ModelCard;
use super::names::{edit_distance, exact_key, name_key, own_words, tuned_words};

/// Cards by every name they are known under.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    cards: Vec<ModelCard>,
    /// Name key and index into `cards`, sorted by key.
    keys: Vec<(String, u32)>,
}

impl Catalogue {
    /// A catalogue of these cards; where two share a name, the earlier one has it.
    pub fn new(cards: Vec<ModelCard>) -> Self {
        let mut keys: Vec<(String, u32)> = Vec::new();
        for (index, card) in (0u32..).zip(&cards) {
            for name in std::iter::once(&card.name).chain(&card.aliases) {
                keys.push((exact_key(name), index));
                keys.push((name_key(name), index));
            }
        }
        keys.sort();
        keys.dedup_by(|b, a| a.0 == b.0);
        Self { cards, keys }
    }

    /// The cards that the product knows by itself: published `config.json` files, read as a folder's is.
    ///
    /// # Panics
    /// Never: the built-in text is read by a test.
    pub fn built_in() -> Self {
        let entries: Vec<Entry> =
            serde_json::from_str(include_str!("../data/cards.json")).unwrap_or_default();
        Self::new(entries.into_iter().filter_map(Entry::card).collect())
    }

    /// The card of a name: the exact name first, then the name without owner and marks.
    pub fn find(&self, name: &str) -> Option<&ModelCard> {
        self.at(&exact_key(name))
            .or_else(|| self.at(&name_key(name)))
    }

    /// What a name may mean, as people and servers write names: a part of a known name, or a known name with
    /// words around it.
    pub fn look_up(&self, name: &str) -> Lookup<'_> {
        let is_named = |c: &&ModelCard| {
            let mut names = std::iter::once(&c.name).chain(&c.aliases);
            names.any(|n| exact_key(n) == exact_key(name))
        };
        let exact = self.at(&exact_key(name)).filter(is_named);
        let by_key = || self.at(&name_key(name)).filter(|c| !is_loose(c, name));
        if let Some(card) = exact.or_else(by_key) {
            return Lookup::Found(card);
        }
        let words = own_words(name);
        let mut within = self.by_words(|own| is_within(&words, own));
        let longest = within.iter().map(|(n, _)| *n).max();
        within.retain(|(n, _)| Some(*n) == longest);
        let ways = [
            within,
            self.by_words(|own| is_short_for(&words, own)),
            self.of_size(&words),
        ];
        let found = ways.into_iter().find(|found| !found.is_empty());
        match different(found.unwrap_or_default()).as_slice() {
            // A word alone may mean models that are not known here.
            [] => match different(self.by_words(|own| is_one_of(&words, own))) {
                none if none.is_empty() => Lookup::Unknown,
                some => Lookup::Several(some),
            },
            [one] => Lookup::Found(one),
            several => Lookup::Several(several.to_vec()),
        }
    }

    /// The cards of which a name fits, with the number of its words.
    fn by_words(&self, keep: impl Fn(&[String]) -> bool) -> Vec<(usize, &ModelCard)> {
        let longest = |card: &ModelCard| {
            let names = std::iter::once(&card.name).chain(&card.aliases);
            // How some documents write a name says less than the name itself.
            let owned = names.filter(|n| n.contains('/')).map(|n| own_words(n));
            owned.filter(|own| keep(own)).map(|own| own.len()).max()
        };
        let fits = self.cards.iter().map(|card| (longest(card), card));
        fits.filter_map(|(n, card)| Some((n?, card))).collect()
    }

    /// The cards of a name with a number of parameters that the name itself does not say, as in
    /// `deepseek-r1:671b`: the words fit without it, and it is the card's.
    fn of_size(&self, words: &[String]) -> Vec<(usize, &ModelCard)> {
        let (sizes, rest): (Vec<String>, Vec<String>) =
            words.iter().cloned().partition(|word| is_size(word));
        let [size] = sizes.as_slice() else {
            return Vec::new();
        };
        let unsized_name = |own: &[String]| !own.iter().any(|word| is_size(word));
        let mut found = self.by_words(|own| unsized_name(own) && is_short_for(&rest, own));
        found.retain(|(_, card)| params_of(size).is_some_and(|n| is_near(n, card.params)));
        found
    }

    /// The card of a name as a user means it: of a tuning with another longest context, that one.
    pub fn as_named(card: &ModelCard, name: &str) -> ModelCard {
        let words = tuned_words(name);
        let own = card.contexts.iter().find(|(n, _)| tuned_words(n) == words);
        ModelCard {
            max_context: own.map_or(card.max_context, |(_, tokens)| *tokens),
            contexts: Vec::new(),
            ..card.clone()
        }
    }

    fn at(&self, key: &str) -> Option<&ModelCard> {
        let found = self
            .keys
            .binary_search_by(|(k, _)| k.as_str().cmp(key))
            .ok();
        let (_, index) = self.keys.get(found?)?;
        self.cards.get(*index as usize)
    }

    /// A card of the same architecture, of several the one with the same longest context.
    pub fn of_architecture(&self, card: &ModelCard) -> Option<&ModelCard> {
        let same = self.cards.iter().filter(|c| c.is_same_architecture(card));
        same.min_by_key(|c| c.max_context != card.max_context)
    }

    /// The known name that is nearest to an unknown one, for a hint; `None` where none is near
    /// enough to have been meant (a third of its letters differ).
    pub fn nearest_name(&self, name: &str) -> Option<&str> {
        let key = name_key(name);
        let (distance, found) = self
            .cards
            .iter()
            .map(|c| (edit_distance(&key, &name_key(&c.name)), c.name.as_str()))
            .min()?;
        near_enough(distance, &key).then_some(found)
    }

    /// All cards.
    pub fn cards(&self) -> &[ModelCard] {
        &self.cards
    }
}

/// What a name means.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup<'a> {
    /// One architecture.
    Found(&'a ModelCard),
    /// One of several.
    Several(Vec<&'a ModelCard>),
    /// None that is known.
    Unknown,
}

/// One line of the built-in catalogue.
#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    checkpoints: Vec<String>,
    /// Parameters in all, as published.
    params: f64,
    source: String,
    /// The keys of `config.json` that shape the model; none for what a file's reader refuses.
    #[serde(default)]
    config: serde_json::Map<String, serde_json::Value>,
    /// The card of such a model.
    #[serde(default)]
    card: Option<ModelCard>,
    /// Names whose longest context is another one.
    #[serde(default)]
    contexts: Vec<(String, u32)>,
}

impl Entry {
    fn card(self) -> Option<ModelCard> {
        let mut card = match self.card {
            Some(card) => card,
            None => super::hf_config::read(&self.name, &self.config).ok()?,
        };
        // What the reader leaves out (norms, biases, a tower for images) is used by every token, or is small.
        card.active_params += self.params - card.params;
        card.params = self.params;
        card.name = self.name;
        card.aliases = self.aliases;
        card.checkpoints = self.checkpoints;
        card.contexts = self.contexts;
        card.source = self.source;
        Some(card)
    }
}

/// Words that make another model of a name.
const OTHER_MODELS: [&str; 22] = [
    "eagle",
    "draft",
    "dflash",
    "medusa",
    "mtp",
    "embedding",
    "embed",
    "reranker",
    "rerank",
    "reward",
    "rm",
    "prm",
    "vl",
    "vision",
    "audio",
    "omni",
    "lora",
    "adapter",
    "guard",
    "classifier",
    "asr",
    "tts",
];

/// True where the card has this key only by a name without an owner, as some documents write it, and the name
/// is not that name itself: `llama-70b` may be several.
fn is_loose(card: &ModelCard, name: &str) -> bool {
    let key = name_key(name);
    let names = std::iter::once(&card.name).chain(&card.aliases);
    let mut fitting = names.filter(|n| name_key(n) == key);
    !fitting.any(|n| n.contains('/'))
}

/// True for a number of parameters: `8b`, `0.5b`.
fn is_size(word: &str) -> bool {
    let number = word.strip_suffix('b').or_else(|| word.strip_suffix('m'));
    number.is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
}

/// Parameters of such a word.
fn params_of(word: &str) -> Option<f64> {
    let (number, unit) = word.split_at_checked(word.len().checked_sub(1)?)?;
    let unit = if unit == "m" { 1e6 } else { 1e9 };
    number.parse::<f64>().ok().map(|n| n * unit)
}

/// A size in a name is rounded.
fn is_near(stated: f64, params: f64) -> bool {
    (stated / params).ln().abs() < 0.1
}

/// One card of each architecture.
fn different(found: Vec<(usize, &ModelCard)>) -> Vec<&ModelCard> {
    let mut out: Vec<&ModelCard> = Vec::new();
    for (_, card) in found {
        if !out.iter().any(|d| d.is_same_architecture(card)) {
            out.push(card);
        }
    }
    out
}

/// One word of a known name, long enough to mean something.
fn is_one_of(words: &[String], own: &[String]) -> bool {
    matches!(words, [word] if word.len() >= 4 && own.contains(word))
}

fn makes_another(words: &[String], own: &[String]) -> bool {
    let other = |w: &&String| OTHER_MODELS.contains(&w.as_str());
    words.iter().filter(other).any(|w| !own.contains(w))
}

/// A known name with its size, and words around it.
fn is_within(words: &[String], own: &[String]) -> bool {
    let sizes = |of: &[String]| of.iter().filter(|w| is_size(w)).count();
    own.len() >= 2
        && sizes(own) > 0
        && sizes(own) == sizes(words)
        && words.windows(own.len()).any(|w| w == own)
        && !makes_another(words, own)
}

/// A part of a known name: its words in their order, at least two of them.
fn is_short_for(words: &[String], own: &[String]) -> bool {
    let mut rest = own.iter();
    words.len() >= 2 && words.iter().all(|w| rest.any(|o| o == w))
}

fn near_enough(distance: usize, word: &str) -> bool {
    distance * 3 <= word.chars().count()
}
