//! Whether it is an engine of another job or another user that listens on the engine's port. Two vLLM that start at the same time both get past their check
//! of the port; then one of them listens, and the other stays up, says that it serves, and is never asked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Who listens on a port in this one's stead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// Another job of this user's, by its id.
    Job(String),
    /// Another user, by number.
    User(u32),
}

/// Who else listens on this port of the machine where no process of this job, `own`, does.
pub(crate) fn other(port: u16, own: &str) -> Option<Other> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let read = tables.iter().filter_map(|t| fs::read_to_string(t).ok());
    let sockets = listening(&read.collect::<String>(), port);
    let me = nix::unistd::geteuid().as_raw();
    let user = other_user(&sockets, me).map(Other::User);
    user.or_else(|| other_job(&sockets, own).map(Other::Job))
}

/// A user who listens where neither this one, `me`, nor the system does: a container's proxy is the system's.
fn other_user(sockets: &[Socket], me: u32) -> Option<u32> {
    let is_other = |socket: &Socket| ![me, 0].contains(&socket.uid);
    let first = sockets.first()?;
    sockets.iter().all(is_other).then_some(first.uid)
}

fn other_job(sockets: &[Socket], own: &str) -> Option<String> {
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let jobs: BTreeSet<String> = processes
        .map(|process| process.path())
        .filter_map(|process| Some((job_of(&process)?, process)))
        .filter(|(_, process)| has_one_of(process, sockets))
        .map(|(job, _)| job)
        .collect();
    let ours = jobs.contains(own);
    jobs.into_iter().next().filter(|_| !ours)
}

/// The port in `http://host:port/...` where the host is this machine's loopback, as it is for an engine that is asked here.
pub(crate) fn local_port(url: &str) -> Option<u16> {
    let (_, after) = url.split_once("://")?;
    let (host, port) = after.split('/').next()?.rsplit_once(':')?;
    let here = host.starts_with("127.") || ["localhost", "[::1]"].contains(&host);
    port.parse().ok().filter(|_| here)
}

/// A listening socket.
#[derive(Debug, PartialEq)]
struct Socket {
    /// As `/proc/PID/fd` names it.
    name: String,
    uid: u32,
}

/// Listening sockets of a port in the text of `/proc/net/tcp`.
fn listening(table: &str, port: u16) -> Vec<Socket> {
    let end = format!(":{port:04X}");
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.len() > 9 && fields[1].ends_with(&end) && fields[3] == LISTEN;
        let uid = fields.get(7).filter(|_| listens)?.parse().ok()?;
        let name = format!("socket:[{}]", fields[9]);
        Some(Socket { name, uid })
    };
    table.lines().filter_map(socket).collect()
}

/// The job to which a process of this user belongs; those of others cannot be read.
fn job_of(process: &Path) -> Option<String> {
    let environment = fs::read(process.join("environ")).ok()?;
    let of = |variable: &[u8]| variable.strip_prefix(b"SLURM_JOB_ID=").map(<[u8]>::to_vec);
    let job = environment.split(|byte| *byte == 0).find_map(of)?;
    String::from_utf8(job).ok()
}

fn has_one_of(process: &Path, sockets: &[Socket]) -> bool {
    let open = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    open.filter_map(|file| fs::read_link(file.path()).ok())
        .any(|link| sockets.iter().any(|s| link == Path::new(&s.name)))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::FromRawFd;
    use std::process::Command;

    use nix::libc;

    use super::*;

    /// A listener that a program which is started inherits.
    fn inherited() -> TcpListener {
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr {
                s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be(),
            },
            sin_zero: [0; 8],
        };
        // SAFETY: plain system calls on a socket of its own, with values of the lengths that are given.
        unsafe {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
            assert_eq!(libc::bind(socket, (&raw const address).cast(), 16), 0);
            assert_eq!(libc::listen(socket, 8), 0);
            TcpListener::from_raw_fd(socket)
        }
    }

    #[test]
    fn the_job_whose_engine_has_the_port_is_named() {
        let theirs = inherited();
        let port = theirs.local_addr().unwrap().port();
        let mut job = Command::new("sleep")
            .arg("60")
            .env("SLURM_JOB_ID", "8")
            .spawn()
            .unwrap();
        drop(theirs);
        assert_eq!(other(port, "7"), Some(Other::Job("8".into())));
        assert_eq!(other(port, "8"), None, "a server of this job");
        job.kill().unwrap();
        job.wait().unwrap();
    }

    #[test]
    fn a_port_that_another_user_alone_has_is_not_ours() {
        let table = |uids: &[u32]| {
            let line = |uid| {
                format!(
                    "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  {uid}        0 5{uid} 1 0 100 0 0 10 0\n"
                )
            };
            // Another port's, and one that does not listen.
            let rest = "   1: 00000000:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 77 1 0 100\n   \
                        2: 0100007F:1F40 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 78 1 0 100\n";
            let lines: String = uids.iter().map(line).collect();
            listening(&(lines + rest), 8000)
        };
        assert_eq!(table(&[1001])[0].name, "socket:[51001]");
        let of = |uids: &[u32]| other_user(&table(uids), 1000);
        assert_eq!(of(&[1001]), Some(1001));
        assert_eq!(of(&[1001, 1002]), Some(1001));
        assert_eq!(of(&[1001, 1000]), None, "one of ours listens as well");
        assert_eq!(of(&[1000]), None);
        assert_eq!(of(&[0]), None, "a container's proxy");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn ports_are_read_from_addresses() {
        let url = |host: &str| format!("http://{host}/health");
        assert_eq!(local_port(&url("127.0.0.1:8000")), Some(8000));
        assert_eq!(local_port(&url("[::1]:8123")), Some(8123));
        assert_eq!(
            local_port(&url("gpu-node-7:8123")),
            None,
            "another machine's"
        );
        assert_eq!(local_port("unix:/tmp/x"), None);
        assert_eq!(local_port(&url("localhost")), None);
    }
}
