//! Options of a question that stand for others: a latency target by itself, users instead of requests in flight, a context.

use model_store::options::RawOptions;
use model_store::quantity;

use crate::exit;

/// Of so many people who chat with a model, one waits for a reply at a time; the others read, type or are away. A rule of thumb:
/// who has measured the load states `--concurrency`.
const USERS_PER_REQUEST: f64 = 7.0;

/// What is asked for beside the options of `sbatch`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Wants {
    /// People who chat with the model; one request in flight for each seven of them
    #[arg(long, value_name = "N", conflicts_with_all = ["llm-concurrency", "llm-rate"], help_heading = "What to serve")]
    users: Option<u32>,
    /// Context that the engine is to have, such as 32768 or 128k
    #[arg(long, value_name = "TOKENS", visible_aliases = ["context", "context-length", "max-seq-len"], value_parser = context,
        help_heading = "What to serve")]
    max_model_len: Option<u32>,
    /// Mean time to first token, in ms or with a unit
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "What to serve")]
    ttft: Option<f64>,
    /// Mean time per output token, in ms or with a unit
    #[arg(long, value_name = "TIME", visible_alias = "itl", value_parser = time, help_heading = "What to serve")]
    tpot: Option<f64>,
    /// Mean time of a whole request, in ms or with a unit
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "What to serve")]
    e2e: Option<f64>,
}

impl Wants {
    /// Adds what is wanted to the options, and says what was made of users. A target by itself counts more than the same one in `--slo`.
    pub(crate) fn apply(&self, options: &mut RawOptions) {
        let slo = &mut options.slo;
        slo.ttft_ms = self.ttft.or(slo.ttft_ms);
        slo.tpot_ms = self.tpot.or(slo.tpot_ms);
        slo.e2e_ms = self.e2e.or(slo.e2e_ms);
        if let Some(users) = self.users {
            let in_flight = in_flight(users);
            options.concurrency = Some(in_flight);
            exit::hint(&format!(
                "{users} users keep about {in_flight} {} in flight; `--concurrency` states what was measured",
                if in_flight > 1.0 {
                    "requests"
                } else {
                    "request"
                }
            ));
        }
        options.pins.context = self.max_model_len;
    }
}

/// Requests in flight of so many people.
fn in_flight(users: u32) -> f64 {
    (f64::from(users) / USERS_PER_REQUEST).ceil().max(1.0)
}

fn context(text: &str) -> Result<u32, String> {
    let tokens = quantity::tokens(text).filter(|n| n.fract() == 0.0 && (1.0..=1e8).contains(n));
    tokens.map(|n| n as u32).ok_or_else(|| {
        "not a number of tokens, such as 32768, 128k (thousands) or 128K (of 1,024)".into()
    })
}

fn time(text: &str) -> Result<f64, String> {
    let time = quantity::milliseconds(text).filter(|ms| *ms > 0.0 && *ms <= 1e8);
    time.ok_or_else(|| "not a time, such as 600, 600ms or 0.6s".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_turned_into_requests_in_flight() {
        assert_eq!([1, 7, 30, 200].map(in_flight), [1.0, 1.0, 5.0, 29.0]);
    }

    #[test]
    fn a_target_by_itself_counts_more_than_one_in_a_list() {
        let mut options = RawOptions::default();
        options.set("llm-slo", "ttft=500,tpot=50").unwrap();
        let wants = Wants {
            ttft: Some(300.0),
            max_model_len: Some(4096),
            ..Wants::default()
        };
        wants.apply(&mut options);
        assert_eq!(
            (
                options.slo.ttft_ms,
                options.slo.tpot_ms,
                options.pins.context
            ),
            (Some(300.0), Some(50.0), Some(4096))
        );
    }
}
