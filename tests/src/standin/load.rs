//! The pretended load at a moment. Pure: the same settings and the same time give the same figures.

use super::Settings;

/// A closed loop of equal requests: as soon as one is finished, the next one starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Requests in flight.
    pub running: f64,
    /// Requests begun.
    pub begun: f64,
    /// Requests whose first token is out.
    pub answered: f64,
    /// Requests finished.
    pub finished: f64,
    /// Prompt tokens of the requests begun.
    pub prompt_tokens: f64,
    /// Tokens put out so far.
    pub generation_tokens: f64,
    /// Time to the first token, seconds.
    pub ttft: f64,
    /// Time between two tokens of a request, seconds.
    pub tpot: f64,
    /// From a request's arrival to its last token, seconds.
    pub latency: f64,
    /// Part of the KV cache in use, 0 to 1.
    pub kv_usage: f64,
}

/// Tokens for which the pretended KV cache has room.
pub(super) const KV_TOKENS: f64 = 524_288.0;

impl Load {
    /// The figures `seconds` after the first request arrived.
    ///
    /// With T tokens/s over C requests a token takes C/T; the prompt is read at eight times the speed of output.
    pub fn at(settings: &Settings, seconds: f64) -> Self {
        let (requests, speed) = (settings.concurrency, settings.tokens_per_second.max(1e-9));
        let tpot = requests / speed;
        let ttft = 0.02 + settings.isl / (8.0 * speed);
        let latency = ttft + tpot * (settings.osl - 1.0).max(0.0);
        let per_second = requests / latency;
        let finished = ((seconds - latency).max(0.0) * per_second).floor();
        let begun = if seconds < 0.0 {
            0.0
        } else {
            finished + requests
        };
        let tokens_each = ((seconds - ttft) / tpot).max(0.0);
        let generation_tokens =
            (requests * tokens_each.min(settings.osl) + finished * settings.osl).floor();
        Self {
            running: if seconds < 0.0 { 0.0 } else { requests },
            begun,
            answered: if seconds < ttft { 0.0 } else { begun },
            finished,
            prompt_tokens: begun * settings.isl,
            generation_tokens,
            ttft,
            tpot,
            latency,
            kv_usage: (requests * (settings.isl + settings.osl / 2.0) / KV_TOKENS).min(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::read(&["serve".into(), "m".into()], |name| {
            (name == "STANDIN_TOK_S").then(|| "1000".to_owned())
        })
        .unwrap()
    }

    /// Over a long time the counters grow at the promised speed, but for the time that the prompts take.
    #[test]
    fn counters_grow_steadily() {
        let (one, two) = (Load::at(&settings(), 100.0), Load::at(&settings(), 200.0));
        let speed = (two.generation_tokens - one.generation_tokens) / 100.0;
        assert!((900.0..=1000.0).contains(&speed), "{speed}");
        assert!(two.finished > one.finished && two.prompt_tokens > one.prompt_tokens);
    }

    #[test]
    fn nothing_has_happened_at_first() {
        let load = Load::at(&settings(), 0.0);
        assert_eq!((load.finished, load.generation_tokens), (0.0, 0.0));
    }
}
