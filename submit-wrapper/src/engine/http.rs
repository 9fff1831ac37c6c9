//! Asks an engine over HTTP, briefly: a stuck engine must not hold the wrapper.

use std::time::Duration;

use ureq::Agent;

/// Longest time for one answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Largest page that is read, bytes; vLLM's has 50 KB.
const LARGEST: u64 = 8 << 20;

/// Why a page is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is longer than is read, or has no end.
    TooLong,
    /// Another answer than a success: elsewhere, a password, no such page.
    Status(u16),
    /// None in time.
    Silent,
}

impl Refusal {
    const fn of(error: &ureq::Error) -> Self {
        match error {
            ureq::Error::StatusCode(code) => Self::Status(*code),
            ureq::Error::BodyExceedsLimit(_) => Self::TooLong,
            _ => Self::Silent,
        }
    }

    /// True where asking again would bring the same: a fault of the server may pass.
    pub(crate) const fn lasts(self) -> bool {
        match self {
            Self::TooLong => true,
            Self::Status(code) => code < 500,
            Self::Silent => false,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong => write!(f, "the page has more than {} MB", LARGEST >> 20),
            Self::Status(code @ 300..=399) => {
                write!(f, "status {code} sends elsewhere, where nobody is asked")
            }
            Self::Status(code @ (401 | 403 | 407)) => {
                write!(f, "status {code}: it wants a password")
            }
            Self::Status(404) => write!(f, "status 404: there is no such page"),
            Self::Status(code) => write!(f, "status {code}"),
            Self::Silent => write!(f, "nothing answers within {} s", ANSWER.as_secs()),
        }
    }
}

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

    /// True where the address answers with a success: one that sends elsewhere is somebody else's.
    pub(crate) fn is_up(&self, url: &str) -> bool {
        let answer = self.agent.get(url).call();
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// The text at an address; `None` where there is none in time.
    pub(crate) fn text(&self, url: &str) -> Option<String> {
        self.page(url).ok()
    }

    /// The text at an address.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn page(&self, url: &str) -> Result<String, Refusal> {
        let mut answer = self.agent.get(url).call().map_err(|e| Refusal::of(&e))?;
        if !answer.status().is_success() {
            return Err(Refusal::Status(answer.status().as_u16()));
        }
        let body = answer
            .body_mut()
            .with_config()
            .limit(LARGEST)
            .lossy_utf8(true);
        body.read_to_string().map_err(|e| Refusal::of(&e))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A server that gives this head and then this many bytes, or bytes without end.
    fn serve(head: &'static str, bytes: Option<usize>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(head.as_bytes());
                let chunk = [b'x'; 1 << 16];
                let mut left = bytes.unwrap_or(usize::MAX);
                while left > 0 && stream.write_all(&chunk[..left.min(chunk.len())]).is_ok() {
                    left -= left.min(chunk.len());
                }
            }
        });
        format!("http://{address}/metrics")
    }

    #[test]
    fn a_page_without_an_end_or_elsewhere_is_refused_in_words() {
        let client = Client::new();
        for (head, bytes, refusal, words) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
                Some(104_857_600),
                Refusal::TooLong,
                "more than 8 MB",
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
                None,
                Refusal::TooLong,
                "more than 8 MB",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                Some(0),
                Refusal::Status(302),
                "elsewhere",
            ),
            (
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
                Some(0),
                Refusal::Status(401),
                "password",
            ),
            (
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                Some(0),
                Refusal::Status(404),
                "no such page",
            ),
        ] {
            let url = serve(head, bytes);
            let told = client.page(&url).unwrap_err();
            assert_eq!(told, refusal, "{head}");
            assert!(told.lasts() && told.to_string().contains(words), "{told}");
        }
        let up = serve("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Some(3));
        assert_eq!(client.text(&up).as_deref(), Some("xxx"));
        assert!(client.is_up(&up));
        let elsewhere = serve(
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            Some(0),
        );
        assert!(!client.is_up(&elsewhere));
        assert!(!Refusal::Status(503).lasts() && !Refusal::Silent.lasts());
    }
}
