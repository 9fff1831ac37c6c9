//! Sockets, time and signals of the stand-in.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{SigSet, Signal};

use super::fail::death;
use super::{Failure, Load, Settings, metrics};

/// Runs the stand-in until it is told to stop or fails; gives its exit code.
pub fn serve(settings: &Settings) -> i32 {
    let signals = signals();
    log(&format!(
        "engine stand-in (no model, no GPU, made-up figures): {}, TP {}",
        settings.model, settings.tensor_parallel
    ));
    // Like vLLM: a port in use is noticed before anything else, and nobody can connect until all is ready.
    if let Err(error) = TcpListener::bind((settings.host.as_str(), settings.port)) {
        return fail(
            &format!(
                "OSError: [Errno {}] {error}",
                error.raw_os_error().unwrap_or(0)
            ),
            1,
        );
    }
    if let Some((text, code)) = settings
        .failure
        .as_ref()
        .and_then(|failure| failure.at_start(settings))
    {
        thread::sleep(settings.ready_after / 2);
        return fail(&text, code);
    }
    if asked_to_stop(&signals, Some(settings.ready_after)) {
        return stopped();
    }
    if settings.failure != Some(Failure::NeverReady)
        && let Err(error) = listen(settings)
    {
        return fail(&format!("OSError: {error}"), 1);
    }
    live(settings, &signals)
}

/// From readiness to the end.
fn live(settings: &Settings, signals: &Receiver<()>) -> i32 {
    match settings.failure {
        Some(Failure::Dies(after)) if !asked_to_stop(signals, Some(after)) => {
            return fail(&death(), 0);
        }
        Some(Failure::Stuck) => drop(asked_to_stop(signals, None)),
        _ => {}
    }
    asked_to_stop(signals, settings.stop_after);
    stopped()
}

fn log(text: &str) {
    println!("(APIServer pid={}) INFO {text}", std::process::id());
}

fn fail(text: &str, code: i32) -> i32 {
    if !text.is_empty() {
        eprintln!("{text}");
    }
    code
}

fn stopped() -> i32 {
    log("[shutdown] API server: shutdown triggered");
    println!("INFO:     Shutting down\nINFO:     Application shutdown complete.");
    0
}

/// SIGTERM and SIGINT as messages. They are blocked here and thereby in every later thread, so that one thread can wait for them.
fn signals() -> Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    let set: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    if set.thread_block().is_ok() {
        thread::spawn(move || forward(set, &sender));
    }
    receiver
}

fn forward(set: SigSet, sender: &Sender<()>) {
    while set.wait().is_ok() && sender.send(()).is_ok() {}
}

/// Waits for a signal, at most this long, or for ever.
fn asked_to_stop(signals: &Receiver<()>, longest: Option<Duration>) -> bool {
    match longest {
        None => signals.recv().is_ok(),
        Some(longest) => !matches!(
            signals.recv_timeout(longest),
            Err(RecvTimeoutError::Timeout)
        ),
    }
}

fn listen(settings: &Settings) -> io::Result<()> {
    let listener = TcpListener::bind((settings.host.as_str(), settings.port))?;
    let address = listener.local_addr()?;
    log(&format!(
        "Starting vLLM server on http://{address} (stand-in, {:.0} tokens/s pretended)",
        settings.tokens_per_second
    ));
    println!("INFO:     Application startup complete.");
    let settings = settings.clone();
    thread::spawn(move || accept(&listener, &settings));
    Ok(())
}

fn accept(listener: &TcpListener, settings: &Settings) {
    let (ready, created) = (Instant::now(), unix_time());
    for stream in listener.incoming().flatten() {
        let settings = settings.clone();
        // A client that hangs up early is no concern of the engine.
        thread::spawn(move || drop(answer(&stream, &settings, ready, created)));
    }
}

fn unix_time() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

fn answer(
    mut stream: &TcpStream,
    settings: &Settings,
    ready: Instant,
    created: f64,
) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let path = requested_path(stream)?;
    let seconds = ready.elapsed().as_secs_f64();
    let (status, kind, body) = match path.as_str() {
        "/health" => ("200 OK", "text/plain; charset=utf-8", String::new()),
        "/version" => (
            "200 OK",
            "application/json",
            r#"{"version":"0.32.0","stand_in":true}"#.to_owned(),
        ),
        "/metrics" => (
            "200 OK",
            "text/plain; version=1.0.0; charset=utf-8",
            metrics(&settings.model, &Load::at(settings, seconds), created),
        ),
        "/v1/models" => (
            "200 OK",
            "application/json",
            format!(
                r#"{{"object":"list","data":[{{"id":{:?},"object":"model"}}]}}"#,
                settings.model
            ),
        ),
        "/v1/completions" => {
            // Kernels are still tuned: the server is up, and nothing is answered.
            thread::sleep(settings.warmup.saturating_sub(ready.elapsed()));
            (
                "200 OK",
                "application/json",
                r#"{"object":"text_completion","choices":[{"text":"1"}]}"#.to_owned(),
            )
        }
        _ => (
            "404 Not Found",
            "application/json",
            r#"{"detail":"Not Found"}"#.to_owned(),
        ),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nserver: uvicorn\r\ncontent-length: {length}\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// Reads the head of a request and gives the path without its query.
fn requested_path(stream: &TcpStream) -> io::Result<String> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let target = request.split(' ').nth(1).unwrap_or("/");
    Ok(target.split('?').next().unwrap_or(target).to_owned())
}
