//! The page of metrics and the dashboard, with a real Prometheus and a real `node_exporter`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{artifacts, configure};
use serde_json::Value;

const DASHBOARD: &str = include_str!("../etc/grafana/omnipilot.json");

/// Fetched by `tests/cluster/prometheus.sh`, beside the build's folders.
fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("../prometheus")
        .join(name)
}

/// A port of the loopback on which nobody listened a moment ago.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Daemons and a folder, both gone when the test ends.
struct Watched {
    folder: PathBuf,
    url: String,
    daemons: Vec<Child>,
}

impl Watched {
    fn new() -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("metrics-{}", std::process::id()));
        fs::create_dir_all(folder.join("pages")).unwrap();
        let (exporter, server) = (port(), port());
        let config = format!(
            "global: {{scrape_interval: 200ms}}\nscrape_configs:\n- job_name: node\n  static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]\n"
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let daemon = |name: &str, words: &[String]| {
            let log = fs::File::create(folder.join(format!("{name}.log"))).unwrap();
            let mut command = Command::new(program(name));
            command.args(words).stdout(Stdio::null()).stderr(log);
            command.spawn().unwrap()
        };
        let at = |name: &str| folder.join(name).display().to_string();
        let daemons = vec![
            daemon(
                "prometheus-node-exporter",
                &[
                    "--collector.disable-defaults".into(),
                    "--collector.textfile".into(),
                    format!("--collector.textfile.directory={}", at("pages")),
                    format!("--web.listen-address=127.0.0.1:{exporter}"),
                ],
            ),
            daemon(
                "prometheus",
                &[
                    format!("--config.file={}", at("prometheus.yml")),
                    format!("--storage.tsdb.path={}", at("tsdb")),
                    format!("--web.listen-address=127.0.0.1:{server}"),
                ],
            ),
        ];
        let url = format!("http://127.0.0.1:{server}");
        Self {
            folder,
            url,
            daemons,
        }
    }

    /// What an expression gives now: nothing too while the server is not up.
    fn ask(&self, query: &str) -> Vec<Value> {
        let output = Command::new(program("promtool"))
            .args(["query", "instant", "--format=json", &self.url, query])
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Gives `node_exporter` a page, and waits until Prometheus has read it.
    fn publish(&self, page: &str, version: u32) {
        let marked = format!("{page}# TYPE test_page gauge\ntest_page {version}\n");
        let draft = self.folder.join("draft");
        fs::write(&draft, marked).unwrap();
        fs::rename(draft, self.folder.join("pages/omnipilot.prom")).unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        while self.ask(&format!("test_page == {version}")).is_empty() {
            assert!(Instant::now() < limit, "{}", self.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn logs(&self) -> String {
        let log = |n: &str| fs::read_to_string(self.folder.join(n)).unwrap();
        log("prometheus.log") + &log("prometheus-node-exporter.log")
    }

    /// Titles of the panels of which an expression gives nothing.
    fn empty_panels(&self) -> Vec<String> {
        let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
        let mut empty = Vec::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let queries = panel["targets"].as_array().unwrap();
            let mut queries = queries.iter().map(|t| t["expr"].as_str().unwrap());
            if queries.any(|query| self.ask(query).is_empty()) {
                let reason = &panel["fieldConfig"]["defaults"]["noValue"];
                assert!(reason.is_string(), "{panel} says nothing where it is empty");
                empty.push(panel["title"].as_str().unwrap().to_owned());
            }
        }
        empty
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            daemon.kill().ok();
            daemon.wait().ok();
        }
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// The page of a site on its first day, before anything was trained or observed.
fn page(folder: &Path) -> String {
    configure(folder).unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(artifacts::omnipilot().unwrap());
        command.arg("--config").arg(folder.join("omnipilot.toml"));
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["init", "--figures-only"]);
    run(&["export", "metrics"])
}

/// What promtool has to say of a page.
fn complaints(page: &str) -> String {
    let mut promtool = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(page.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
#[cfg_attr(not(e2e_prometheus), ignore = "Prometheus could not be fetched")]
fn the_dashboard_shows_data_or_says_why_there_is_none_yet() {
    let site = Watched::new();
    let first = page(&site.folder);
    assert_eq!(complaints(&first), "");
    site.publish(&first, 1);
    let not_yet = [
        "Snapshot age",
        "Cluster observed",
        "Coverage of 80 % intervals",
        "Jobs under an advice, by state",
        "Requests without an advice",
        "Starts of engines, by outcome",
        "GPUs free and waited for",
    ];
    assert_eq!(site.empty_panels(), not_yet);

    // A stand-in for what a busy site's page has more: one sample of each family that is empty on the first day.
    let busy = [
        (
            "snapshot_timestamp_seconds gauge",
            "snapshot_timestamp_seconds 1.7e9\n",
        ),
        (
            "cluster_timestamp_seconds gauge",
            "cluster_timestamp_seconds 1.7e9\n",
        ),
        ("gpus gauge", "gpus{type=\"h100\",state=\"free\"} 3\n"),
        ("gpus gauge", "gpus{type=\"h100\",state=\"pending\"} 8\n"),
        (
            "advised_jobs gauge",
            "advised_jobs{state=\"COMPLETED\"} 5\n",
        ),
        ("wishes gauge", "wishes{why=\"refused\"} 2\n"),
        ("starts gauge", "starts{outcome=\"served\"} 6\n"),
        (
            "coverage_ratio gauge",
            "coverage_ratio{target=\"req_s\",group=\"all\"} 0.8\n",
        ),
        (
            "coverage_runs gauge",
            "coverage_runs{target=\"req_s\",group=\"all\"} 5\n",
        ),
    ];
    let mut page = first;
    for (family, sample) in busy {
        let announced = format!("# TYPE omnipilot_{family}\n");
        if !page.contains(&announced) {
            page += &announced;
        }
        page = page.replace(&announced, &format!("{announced}omnipilot_{sample}"));
    }
    site.publish(&page, 2);
    assert_eq!(site.empty_panels(), Vec::<String>::new());
}
