//! Asks an engine over HTTP, briefly: a stuck engine must not hold the wrapper.

use std::time::Duration;

use ureq::Agent;

/// Longest time for one answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Largest page that is read, bytes; vLLM's has 50 KB.
const LARGEST: u64 = 8 << 20;

/// A client for one engine.
pub(crate) struct Client {
    agent: Agent,
}

impl Client {
    pub(crate) fn new() -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(1)))
            .timeout_global(Some(ANSWER))
            .proxy(None)
            .max_redirects(0)
            .build();
        Self {
            agent: config.new_agent(),
        }
    }

    /// True where the address answers with a success.
    pub(crate) fn is_up(&self, url: &str) -> bool {
        self.agent.get(url).call().is_ok()
    }

    /// The text at an address; `None` where there is none in time.
    pub(crate) fn text(&self, url: &str) -> Option<String> {
        let mut answer = self.agent.get(url).call().ok()?;
        let body = answer
            .body_mut()
            .with_config()
            .limit(LARGEST)
            .lossy_utf8(true);
        body.read_to_string().ok()
    }

    /// The engine's version, as vLLM's and SGLang's servers tell it.
    pub(crate) fn version(&self, url: &str) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Version {
            version: String,
        }
        let version: Version = serde_json::from_str(&self.text(url)?).ok()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".+-_".contains(c);
        (version.version.len() <= 64 && version.version.chars().all(plain))
            .then_some(version.version)
    }
}
