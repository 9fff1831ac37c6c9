//! The first request: an engine that answers 200 may go on warming up for minutes, and is ready when
//! it has answered a request.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

/// Longest time for the one answer.
const LONGEST: Duration = Duration::from_secs(1800);

/// What became of the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// It was answered.
    Answered,
    /// The engine does not take it: another kind of server, a password.
    NotTaken,
}

/// Sends one request of one token to the server at this address; the answer comes by the receiver.
pub(crate) fn send(origin: String) -> Receiver<First> {
    let (sender, receiver) = channel();
    let work = move || {
        let _ = sender.send(ask(&origin));
    };
    // Without a thread nothing is answered, and a user's request decides.
    let _ = thread::Builder::new()
        .name("first".into())
        .stack_size(256 * 1024)
        .spawn(work);
    receiver
}

fn ask(origin: &str) -> First {
    let config = Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(1)))
        .timeout_global(Some(LONGEST))
        .proxy(None)
        .max_redirects(0)
        .build();
    let agent = config.new_agent();
    let Some(model) = served(&agent, origin) else {
        return First::NotTaken;
    };
    let body = json!({"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0});
    let request = agent
        .post(format!("{origin}/v1/completions"))
        .header("content-type", "application/json");
    match request.send(body.to_string()) {
        Ok(answer) if answer.status().is_success() => First::Answered,
        _ => First::NotTaken,
    }
}

/// The name under which the model is served.
fn served(agent: &Agent, origin: &str) -> Option<String> {
    let mut answer = agent.get(format!("{origin}/v1/models")).call().ok()?;
    let text = answer
        .body_mut()
        .with_config()
        .limit(1 << 20)
        .read_to_string();
    let list: Value = serde_json::from_str(&text.ok()?).ok()?;
    list["data"][0]["id"].as_str().map(str::to_owned)
}
