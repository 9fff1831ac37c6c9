//! Whether it is an engine of another job that listens on the engine's port. Two vLLM that start at the same time both get past their check
//! of the port; then one of them listens, and the other stays up, says that it serves, and is never asked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The id of another job of this user's that listens on this port of the machine where no process of this one, `own`, does.
pub(crate) fn other_job(port: u16, own: &str) -> Option<String> {
    let sockets = listening(port);
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let jobs: BTreeSet<String> = processes
        .map(|process| process.path())
        .filter_map(|process| Some((job_of(&process)?, process)))
        .filter(|(_, process)| has_one_of(process, &sockets))
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

/// Listening sockets of a port, as `/proc/PID/fd` names them.
fn listening(port: u16) -> Vec<String> {
    let end = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let text: String = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .collect();
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() > 9 && fields[1].ends_with(&end) && fields[3] == LISTEN)
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect()
}

/// The job to which a process of this user belongs; those of others cannot be read, nor share a port.
fn job_of(process: &Path) -> Option<String> {
    let environment = fs::read(process.join("environ")).ok()?;
    let of = |variable: &[u8]| variable.strip_prefix(b"SLURM_JOB_ID=").map(<[u8]>::to_vec);
    let job = environment.split(|byte| *byte == 0).find_map(of)?;
    String::from_utf8(job).ok()
}

fn has_one_of(process: &Path, sockets: &[String]) -> bool {
    let open = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    open.filter_map(|file| fs::read_link(file.path()).ok())
        .any(|link| sockets.iter().any(|socket| link == Path::new(socket)))
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
        assert_eq!(other_job(port, "7").as_deref(), Some("8"));
        assert_eq!(other_job(port, "8"), None, "a server of this job");
        job.kill().unwrap();
        job.wait().unwrap();
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
