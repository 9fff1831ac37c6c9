//! Keeps the board of this engine up to date while it runs.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use model_store::outcome::Asked;

use super::evidence::plain_name;
use super::plan::Plan;
use super::reading::Reading;
use crate::board::{Board, Post, State, folder};
use crate::clock::exactly_now;

/// The board of one engine, and what its throughput is reckoned from. Dropped, the board is taken down.
#[derive(Debug)]
pub(crate) struct Notice {
    board: Board,
    last: Option<Reading>,
    /// To the thread that writes: a home folder whose server is away must hold nothing else.
    to_writer: SyncSender<Board>,
}

/// What a board is made of.
#[derive(Debug)]
pub(crate) struct Unposted {
    job: u64,
    url: Option<String>,
    engine: String,
    asked: Asked,
    interval_s: f64,
}

impl Unposted {
    /// Of this plan; `None` outside a job.
    pub(crate) fn of(job: Option<u64>, plan: &Plan, interval: Duration) -> Option<Self> {
        Some(Self {
            job: job?,
            url: plan.urls.as_ref().map(|urls| urls.ready.clone()),
            engine: plan.engine.clone(),
            asked: Asked {
                model: plain_name(&plan.asked.model),
                ..plan.asked.clone()
            },
            interval_s: interval.as_secs_f64(),
        })
    }

    /// Puts it up; `None` for a user without a home.
    pub(crate) fn put_up(self) -> Option<Notice> {
        let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let (folder, job) = (folder(env)?, self.job);
        let node = env("SLURMD_NODENAME").or_else(host).unwrap_or_default();
        let address = self.url.and_then(|url| address(&url, &node));
        let mut board = Board::starting(job, node, self.engine, self.asked, exactly_now());
        board.address = address;
        board.cluster = env("SLURM_CLUSTER_NAME").unwrap_or_default();
        board.interval_s = self.interval_s;
        let work = move |boards: Receiver<Board>| {
            if let Some(post) = Post::new(&folder, job, std::process::id()) {
                boards.iter().for_each(|board| post.show(&board));
                post.take_down();
            }
        };
        Some(Notice::new(board, work))
    }
}

impl Notice {
    /// Shows a board; `work` writes those that it is sent, in a thread of its own.
    fn new(board: Board, work: impl FnOnce(Receiver<Board>) + Send + 'static) -> Self {
        let (to_writer, boards) = sync_channel(1);
        let thread = thread::Builder::new().name("board".into());
        let _ = thread.stack_size(256 * 1024).spawn(move || work(boards)); // costs the board alone
        let notice = Self {
            board,
            last: None,
            to_writer,
        };
        notice.show();
        notice
    }

    /// What the writer has no time for is left out: the next board says more.
    fn show(&self) {
        let _ = self.to_writer.try_send(self.board.clone());
    }

    /// The engine answers.
    pub(crate) fn ready(&mut self) {
        self.board.state = State::Ready;
        self.board.since = exactly_now();
        self.show();
    }

    /// Its metrics were read.
    pub(crate) fn read(&mut self, reading: &Reading) {
        self.board.read_at = Some(exactly_now());
        self.board.in_flight = reading.load;
        self.board.output_tok_s = self.last.as_ref().and_then(|last| speed(last, reading));
        self.last = Some(reading.clone());
        self.show();
    }
}

/// Output tokens per second between two readings of one engine.
fn speed(last: &Reading, now: &Reading) -> Option<f64> {
    let tokens = now.output_tokens? - last.output_tokens?;
    let seconds = now.at - last.at;
    (tokens >= 0.0 && seconds > 0.0).then(|| tokens / seconds)
}

/// Where others reach the engine: its address with the node's name for one that means this machine, without a path.
fn address(url: &str, node: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    let own = ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::]"];
    let host = if own.contains(&host) && !node.is_empty() {
        node
    } else {
        host
    };
    Some(format!("{scheme}://{host}:{port}"))
}

fn host() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_told_by_its_name() {
        for (url, told) in [
            ("http://127.0.0.1:8000/health", "http://gpu3:8000"),
            ("http://localhost:8000/health", "http://gpu3:8000"),
            ("http://me:pw@10.0.0.7:9/health?x=1", "http://10.0.0.7:9"),
            ("http://[::1]:8000/health", "http://gpu3:8000"),
        ] {
            assert_eq!(address(url, "gpu3").as_deref(), Some(told));
        }
        assert_eq!(address("nothing", "gpu3"), None);
    }

    #[test]
    fn no_password_of_an_address_is_shown() {
        let command = ["vllm", "serve", "https://me:secret@host/m?token=x"];
        let command = command.map(str::to_owned);
        let plan = super::super::plan::plan(&command, &Default::default(), &|_| None).unwrap();
        let unposted = Unposted::of(Some(7), &plan, Duration::from_secs(5)).unwrap();
        assert_eq!(unposted.asked.model, "https://host/m");
    }

    #[test]
    fn a_home_that_hangs_holds_nobody_and_has_the_last_board_in_the_end() {
        let board = Board::starting(7, "gpu1".into(), "vllm".into(), Asked::default(), 1000.0);
        let (go, hangs) = sync_channel::<()>(0);
        let ((took, taken), (seen, shown)) = (sync_channel(100), sync_channel(100));
        let work = move |boards: Receiver<Board>| {
            for board in boards {
                took.send(()).unwrap();
                let _ = hangs.recv();
                seen.send(board).unwrap();
            }
        };
        let mut notice = Notice::new(board, work);
        taken.recv().unwrap();
        // None of these returns while the home is waited for, if one waits for it.
        notice.ready();
        for _ in 0..50 {
            notice.read(&Reading::default());
        }
        drop(go);
        assert_eq!(shown.recv().unwrap().state, State::Starting);
        assert_eq!(shown.recv().unwrap().state, State::Ready);
        drop(notice);
        assert!(shown.iter().count() < 50, "the writer ends");
    }

    #[test]
    fn a_restart_is_no_negative_throughput() {
        let at = |at, tokens| Reading {
            at,
            output_tokens: Some(tokens),
            ..Reading::default()
        };
        assert_eq!(speed(&at(10.0, 100.0), &at(15.0, 600.0)), Some(100.0));
        assert_eq!(speed(&at(10.0, 100.0), &at(15.0, 0.0)), None);
        assert_eq!(speed(&at(10.0, 100.0), &Reading::default()), None);
    }
}
