//! The service account: who owns store, snapshot and spool, and running a verb as that account.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, geteuid};

use crate::exit;
use crate::progress::Progress;

/// Name of the account where nothing else is said.
pub(crate) const USUAL: &str = "omnipilot";

/// An account that commands run as.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its name.
    pub(crate) name: String,
    uid: Uid,
    gid: Gid,
    /// Whether it is another one than the caller's.
    other: bool,
}

impl Account {
    /// The named account, or the usual one; a caller who is not root can be nobody but himself.
    ///
    /// # Errors
    /// No such account, or one that the caller may not become.
    pub(crate) fn find(name: Option<&str>) -> anyhow::Result<Self> {
        let me = geteuid();
        let found = match name {
            None if !me.is_root() => User::from_uid(me),
            name => User::from_name(name.unwrap_or(USUAL)),
        };
        let user = found.ok().flatten().ok_or_else(|| absent(name))?;
        if !me.is_root() && user.uid != me {
            return Err(exit::with_code(
                exit::USAGE,
                format!("only root can set up for another account, `{}`", user.name),
                "run it as root, or without `--account` for yourself",
            ));
        }
        Ok(Self {
            other: user.uid != me,
            name: user.name,
            uid: user.uid,
            gid: user.gid,
        })
    }

    /// Whether a file belongs to it.
    pub(crate) fn owns(&self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|m| m.uid() == self.uid.as_raw())
    }

    /// Makes a folder of this mode, with those above it, and gives it to the account. Returns whether
    /// there was anything to do: one that is there keeps its mode, and an empty one of root's is taken.
    ///
    /// # Errors
    /// A folder that belongs to somebody else, or the system's.
    pub(crate) fn folder(&self, path: &Path, mode: u32) -> std::io::Result<bool> {
        let there = path.exists();
        if there && self.owns(path) {
            return Ok(false);
        }
        if there && !is_empty_of_root(path)? {
            return Err(std::io::Error::other("it belongs to another account"));
        }
        crate::folders::make_folders(path)?;
        nix::unistd::chown(path, Some(self.uid), Some(self.gid))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        Ok(true)
    }

    /// Runs another verb of this command as the account. What it says on standard error is passed on
    /// where it fails, or at once where `aloud`, as for a verb that shows its progress.
    ///
    /// # Errors
    /// The command cannot be started, or fails; it has then told why on standard error.
    pub(crate) fn run(&self, words: &[&str], aloud: bool) -> anyhow::Result<()> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(&program);
        command.args(words).stdin(Stdio::null()).current_dir("/");
        if aloud {
            command.stderr(Stdio::inherit());
        }
        if self.other {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
            command.env_remove("HOME").env("USER", &self.name);
        }
        // A verb that is heard shows its own.
        let verb = words.last().copied().unwrap_or_default();
        let progress = (!aloud).then(|| Progress::start(&format!("omnipilot {verb}")));
        let output = command
            .output()
            .map_err(|e| self.cannot_start(&program, &e))?;
        drop(progress);
        if output.status.success() {
            return Ok(());
        }
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        Err(exit::fail(
            format!("`omnipilot {}` as `{}` failed", words.join(" "), self.name),
            "the lines above say why; once that is put right, run `omnipilot setup` again",
        ))
    }

    fn cannot_start(&self, program: &Path, error: &std::io::Error) -> anyhow::Error {
        exit::fail(
            format!(
                "`{}` cannot start {}: {error}",
                self.name,
                program.display()
            ),
            "install the command where every user can run it: `make install`",
        )
    }
}

fn is_empty_of_root(path: &Path) -> std::io::Result<bool> {
    Ok(std::fs::metadata(path)?.uid() == 0 && std::fs::read_dir(path)?.next().is_none())
}

fn absent(name: Option<&str>) -> anyhow::Error {
    let name = name.unwrap_or(USUAL);
    exit::with_code(
        exit::USAGE,
        format!("there is no account `{name}` to own store, snapshot and spool"),
        format!(
            "`useradd --system --home-dir /var/lib/omnipilot --no-create-home --shell /usr/sbin/nologin {name}` makes it; \
             `--account NAME` takes another one"
        ),
    )
}
