//! The way to the engine: what its HTTP server spends on a request beside the engine itself.
//!
//! An engine counts TTFT and end-to-end latency from when it has a request, a client from its own call: between them lie reading,
//! tokenising and writing. Where the server counts its own durations too (`http_request_duration_seconds` of vLLM, streamed answers
//! to their last byte), the difference of the two means over the same requests is that way.

use super::reading::{Reading, Total};

/// Numbers of requests under way between server and engine that are told apart.
const MOST: usize = 16;

/// Durations of the same requests at the server and in the engine, over one window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Front {
    /// First and last sums (server, engine) among the readings at which the server was ahead by so many finished requests. Between two
    /// such readings both have counted the same requests; what was refused or given up counts at the server alone and moves the number.
    spans: Vec<(i64, [Total; 2], [Total; 2])>,
}

impl Front {
    /// Takes the next reading of the window.
    pub(crate) fn push(&mut self, reading: &Reading) {
        let (Some(http), Some(e2e)) = (reading.http, reading.e2e) else {
            return;
        };
        #[allow(clippy::cast_possible_truncation)] // counts of requests
        let ahead = (http.count - e2e.count) as i64;
        if let Some((_, _, last)) = self.spans.iter_mut().find(|(n, ..)| *n == ahead) {
            *last = [http, e2e];
        } else if self.spans.len() < MOST {
            self.spans.push((ahead, [http, e2e], [http, e2e]));
        }
    }

    /// Mean seconds that a request spent on the way; `None` where the server does not tell, or never finished as many as the engine.
    pub(crate) fn seconds(&self) -> Option<f64> {
        let requests =
            |(_, first, last): &&(i64, [Total; 2], [Total; 2])| last[1].count - first[1].count;
        let longest = self
            .spans
            .iter()
            .max_by(|a, b| requests(a).total_cmp(&requests(b)))?;
        let n = requests(&longest);
        let (_, first, last) = longest;
        let grown = |which: usize| last[which].sum - first[which].sum;
        (n > 0.0)
            .then(|| (grown(0) - grown(1)) / n)
            .filter(|s| *s >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(http: (f64, f64), e2e: (f64, f64)) -> Reading {
        let total = |(sum, count)| Some(Total { sum, count });
        Reading {
            http: total(http),
            e2e: total(e2e),
            ..Reading::default()
        }
    }

    #[test]
    fn the_way_is_what_the_server_takes_longer_for_the_same_requests() {
        let mut front = Front::default();
        // One of 9 s has left the engine and is still being written at the second reading; one was refused before the third.
        for reading in [
            at((10.0, 5.0), (9.9, 5.0)),
            at((14.08, 9.0), (22.86, 10.0)),
            at((23.11, 11.0), (22.86, 10.0)),
            at((27.21, 15.0), (26.88, 14.0)),
        ] {
            front.push(&reading);
        }
        // Readings 3 and 4: four requests, 4.10 s at the server and 4.02 s in the engine.
        assert!((front.seconds().unwrap() - 0.02).abs() < 1e-9);
    }

    #[test]
    fn a_server_that_does_not_tell_has_no_way() {
        let mut front = Front::default();
        front.push(&Reading::default());
        front.push(&at((1.0, 1.0), (1.0, 1.0)));
        assert_eq!(front.seconds(), None);
        // A sum that went backwards says nothing.
        front.push(&at((1.5, 2.0), (2.0, 2.0)));
        assert_eq!(front.seconds(), None);
    }
}
