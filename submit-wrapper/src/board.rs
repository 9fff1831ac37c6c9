//! What a running engine shows its own user: one small file in the user's state folder, written by `omnipilot run` and read by
//! `omnipilot status`. It lies in no folder that others may write to.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model_store::outcome::Asked;
use serde::{Deserialize, Serialize};

use crate::draft::Draft;

/// Number of the form of the file.
const SCHEMA: u32 = 1;
/// A reading says how it is now for so many intervals, and for this time at least, s.
const FRESH_INTERVALS: f64 = 3.0;
const FRESH_S: f64 = 120.0;
/// Largest file that is read, bytes.
const LARGEST: u64 = 64 * 1024;

/// What the engine is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It loads weights, compiles, captures graphs.
    Starting,
    /// It answers.
    Ready,
}

/// One engine of a job. Times are Unix seconds, throughput is in tokens per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Board {
    schema: u32,
    /// Name of the job's cluster: one home may serve several. Empty where it is not known.
    #[serde(default)]
    pub(crate) cluster: String,
    /// Slurm's number of the job.
    pub(crate) job: u64,
    /// Node that the engine runs on.
    pub(crate) node: String,
    /// Address that it answers on, without a path.
    pub(crate) address: Option<String>,
    /// What it serves and on what.
    pub(crate) asked: Asked,
    /// Engine name.
    pub(crate) engine: String,
    /// What it is at.
    pub(crate) state: State,
    /// When it came to that.
    pub(crate) since: f64,
    /// Seconds between two readings of its metrics; 0 where that is not known.
    #[serde(default)]
    pub(crate) interval_s: f64,
    /// When its metrics were last read.
    pub(crate) read_at: Option<f64>,
    /// Output tokens per second since the reading before.
    pub(crate) output_tok_s: Option<f64>,
    /// Requests in flight at the last reading.
    pub(crate) in_flight: Option<f64>,
}

impl Board {
    /// A board of an engine that starts now.
    pub(crate) fn starting(job: u64, node: String, engine: String, asked: Asked, now: f64) -> Self {
        Self {
            schema: SCHEMA,
            cluster: String::new(),
            job,
            node,
            address: None,
            asked,
            engine,
            state: State::Starting,
            since: now,
            interval_s: 0.0,
            read_at: None,
            output_tok_s: None,
            in_flight: None,
        }
    }

    /// True where the last reading still says how it is now.
    pub(crate) fn is_fresh(&self, now: f64) -> bool {
        let lasts = FRESH_S.max(FRESH_INTERVALS * self.interval_s);
        self.read_at.is_some_and(|at| now - at < lasts)
    }
}

/// Where the boards of this user lie; `None` for who has no home.
pub(crate) fn folder(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |path: String| Some(PathBuf::from(path)).filter(|p| p.is_absolute());
    let state = env("XDG_STATE_HOME").and_then(absolute);
    let home = || Some(env("HOME").and_then(absolute)?.join(".local/state"));
    Some(state.or_else(home)?.join("omnipilot/jobs"))
}

/// A board's own file.
#[derive(Debug)]
pub(crate) struct Post {
    file: PathBuf,
}

impl Post {
    /// In this folder, which is made where it is not there; each engine of a job has its own.
    pub(crate) fn new(folder: &Path, job: u64, process: u32) -> Option<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.ok()?;
        let file = folder.join(format!("{job}-{process}.json"));
        Some(Self { file })
    }

    /// Shows a board. What cannot be written costs the board alone.
    pub(crate) fn show(&self, board: &Board) {
        let _ = self.write(board); // the engine comes first
    }

    fn write(&self, board: &Board) -> io::Result<()> {
        let mut draft = Draft::beside(&self.file)?;
        draft.write_all(&serde_json::to_vec(board)?)?;
        draft.put(&self.file, 0o600)
    }

    /// Takes it down.
    pub(crate) fn take_down(&self) {
        let _ = std::fs::remove_file(&self.file); // `status` does so where this was not done
    }
}

/// A board with its file.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: PathBuf,
    pub(crate) board: Board,
}

impl Found {
    /// False where the board is known to be that of another cluster than this one.
    pub(crate) fn may_be_of(&self, cluster: Option<&str>) -> bool {
        let own = &self.board.cluster;
        own.is_empty() || cluster.is_none_or(|cluster| cluster == own)
    }

    /// True where the board is known to be that of this cluster.
    pub(crate) fn is_of(&self, cluster: Option<&str>) -> bool {
        cluster.is_some_and(|cluster| cluster == self.board.cluster)
    }
}

/// All boards of a folder, by job and file; what is none is passed over.
pub(crate) fn all(folder: &Path) -> Vec<Found> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let read = |entry: std::fs::DirEntry| {
        let file = entry.path();
        let plain = entry.metadata().ok()?;
        if !plain.is_file() || plain.len() > LARGEST {
            return None;
        }
        let text = std::fs::read_to_string(&file).ok()?;
        let board: Board = serde_json::from_str(&text).ok()?;
        (board.schema == SCHEMA).then_some(Found { file, board })
    };
    let mut found: Vec<Found> = entries.flatten().filter_map(read).collect();
    found.sort_by(|a, b| (a.board.job, &a.file).cmp(&(b.board.job, &b.file)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_shown_read_and_taken_down() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("state/omnipilot/jobs");
        let post = Post::new(&folder, 7, 99).unwrap();
        let mut board = Board::starting(7, "gpu1".into(), "vllm".into(), Asked::default(), 1000.0);
        post.show(&board);
        board.state = State::Ready;
        board.output_tok_s = Some(812.5);
        post.show(&board);
        std::fs::write(folder.join("x.json"), "{}").unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("y.json")).unwrap();
        let found = all(&folder);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].board, board);
        post.take_down();
        assert!(all(&folder).is_empty());
    }

    #[test]
    fn a_reading_lasts_as_long_as_the_next_may_take() {
        let asked = Asked::default();
        let mut board = Board::starting(7, "gpu1".into(), "vllm".into(), asked, 1000.0);
        assert!(!board.is_fresh(1000.0), "nothing was read");
        board.read_at = Some(1000.0);
        assert!(board.is_fresh(1119.0) && !board.is_fresh(1121.0));
        board.interval_s = 300.0;
        assert!(board.is_fresh(1899.0) && !board.is_fresh(1901.0));
    }

    #[test]
    fn a_board_of_another_cluster_is_none_of_ours() {
        let of = |cluster: &str| {
            let asked = Asked::default();
            let mut board = Board::starting(7, "gpu1".into(), "vllm".into(), asked, 1000.0);
            board.cluster = cluster.into();
            let file = PathBuf::new();
            Found { file, board }
        };
        let told = |board: &str, here| (of(board).may_be_of(here), of(board).is_of(here));
        assert_eq!(told("east", Some("east")), (true, true));
        assert_eq!(told("east", Some("west")), (false, false));
        assert_eq!(told("", Some("west")), (true, false));
        assert_eq!(told("east", None), (true, false));
    }

    #[test]
    fn the_folder_is_the_users_own() {
        let of = |pairs: &'static [(&str, &str)]| {
            folder(|name| {
                let pair = pairs.iter().find(|(n, _)| *n == name);
                pair.map(|(_, value)| (*value).to_owned())
            })
        };
        let home = of(&[("HOME", "/home/alice")]).unwrap();
        assert_eq!(home, Path::new("/home/alice/.local/state/omnipilot/jobs"));
        let state = of(&[("HOME", "/home/alice"), ("XDG_STATE_HOME", "/state")]).unwrap();
        assert_eq!(state, Path::new("/state/omnipilot/jobs"));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("HOME", "here")]), None);
    }
}
