//! The report in a real browser without a window: it renders, says nothing on the console, fits narrow and wide, and has names
//! for who does not see it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::{artifacts, configure};
use model_store::advisor::{ClusterState, GpuPool};
use model_store::store::Store;
use serde_json::Value;

/// A name that a user may give a model, and that must not become markup.
const HOSTILE: &str = "<img src=x onerror=alert(1)>&\"'";

/// What the test adds to a copy of the page: it looks at the page and leaves what it found in an attribute.
const LOOK: &str = r#"<script>
const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName);
const svgs = [...document.querySelectorAll('svg')];
const named = s => (s.getAttribute('aria-labelledby') || '').split(' ').every(id => document.getElementById(id)?.textContent.trim());
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
document.documentElement.dataset.found = JSON.stringify({
  width: innerWidth, scroll: document.documentElement.scrollWidth, wide, svgs: svgs.length,
  unnamed: svgs.filter(s => s.getAttribute('role') !== 'img' || !named(s)).length,
  flat: svgs.filter(s => s.getBoundingClientRect().height < 20).length,
  outside: svgs.flatMap(s => [...s.querySelectorAll('text')].filter(t => { const a = t.getBoundingClientRect(), b = s.getBoundingClientRect(); return a.left < b.left - 2 || a.right > b.right + 2 || a.top < b.top - 2 || a.bottom > b.bottom + 2; }).map(t => t.textContent)),
  tables: document.querySelectorAll('details table').length, images: document.images.length,
  doubled: ids.length - new Set(ids).size, sections: document.querySelectorAll('section').length,
});
</script></body>"#;

fn omnipilot(folder: &Path, words: &[&str]) -> Output {
    let output = Command::new(artifacts::omnipilot().unwrap())
        .arg("--config")
        .arg(folder.join("omnipilot.toml"))
        .args(words)
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    output
}

/// A site with published figures, a model, and then a hundred runs of its own.
fn site() -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    configure(&folder).unwrap();
    omnipilot(&folder, &["init", "--figures-only"]);
    observe(&folder.join("s.db"));
    omnipilot(&folder, &["train"]);
    fs::write(folder.join("own.csv"), own_runs()).unwrap();
    let words = ["import", "--format", "runs-csv", "--origin", "this-cluster"];
    omnipilot(&folder, &[&words[..], &[&path("own.csv")]].concat());
    folder
}

/// A cluster of three GPU types, as `omnipilot observe` would have seen it.
fn observe(store: &Path) {
    let pool = |gres: &str| GpuPool {
        gres: gres.into(),
        nodes: 2,
        per_node: 8,
        total: 16,
        free: 16,
        ..GpuPool::default()
    };
    let cluster = ClusterState {
        pools: ["a100", "h100", "h200"].map(pool).to_vec(),
        ..ClusterState::default()
    };
    Store::open(store).unwrap().save_cluster(&cluster).unwrap();
}

/// The cells of a line, with their quotes.
fn cells(line: &str) -> Vec<String> {
    let (mut quoted, mut out) = (false, vec![String::new()]);
    for c in line.chars() {
        quoted ^= c == '"';
        match (c, out.last_mut()) {
            (',', _) if !quoted => out.push(String::new()),
            (c, Some(cell)) => cell.push(c),
            _ => {}
        }
    }
    out
}

/// A hundred of the figures, measured here a little faster, one of them of a model with that name.
fn own_runs() -> String {
    let figures = include_str!("../model-store/store/data/published-figures.csv");
    let mut lines = figures.lines().map(cells);
    let heads = lines.next().unwrap();
    let column = |name: &str| heads.iter().position(|c| c == name).unwrap();
    let (rate, model) = (column("output_tok_s"), column("model"));
    let mut rows: Vec<Vec<String>> = lines.filter(|l| l.len() == heads.len()).collect();
    rows.retain(|l| l[rate].parse::<f64>().is_ok());
    rows.truncate(100);
    for row in &mut rows {
        row[rate] = (row[rate].parse::<f64>().unwrap() * 1.07).to_string();
    }
    rows[0][model] = format!("\"{}\"", HOSTILE.replace('"', "\"\""));
    let text: Vec<String> = rows.iter().map(|r| r.join(",")).collect();
    format!("{}\n{}\n", heads.join(","), text.join("\n"))
}

/// The page in a frame of that width: a window is never narrower than 500.
fn framed(page: &Path, width: u32) -> PathBuf {
    let text = fs::read_to_string(page).unwrap();
    let inside = text.replace('&', "&amp;").replace('"', "&quot;");
    let frame = page.with_extension(format!("{width}.html"));
    let copy = "f.onload = () => document.documentElement.dataset.found = f.contentDocument.documentElement.dataset.found";
    let text = format!(
        "<!DOCTYPE html><link rel=\"icon\" href=\"data:,\"><iframe id=\"f\" width=\"{width}\" height=\"900\" style=\"border:0\" srcdoc=\"{inside}\"></iframe><script>{copy}</script>"
    );
    fs::write(&frame, text).unwrap();
    frame
}

fn look(page: &Path, width: u32, dark: bool) -> (Value, String) {
    let profile = page.with_extension(format!("profile-{width}-{dark}"));
    let output = Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--v=0",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!(
            "--blink-settings=preferredColorScheme={}",
            u8::from(!dark)
        ))
        .arg("--window-size=1700,1200")
        .arg(format!("file://{}", framed(page, width).display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = dom
        .split("data-found=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let found = found.unwrap_or_else(|| panic!("the page did not load: {output:?}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        serde_json::from_str(
            &found
                .replace("&quot;", "\"")
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&"),
        )
        .unwrap(),
        said,
    )
}

#[test]
#[cfg_attr(
    not(e2e_chromium),
    ignore = "no chromium is installed: `apt-get install chromium` brings one"
)]
fn the_report_renders_narrow_and_wide_says_nothing_and_has_names() {
    let folder = site();
    let page = folder.join("report.html");
    omnipilot(
        &folder,
        &["report", "--output", &page.display().to_string()],
    );
    let text = fs::read_to_string(&page).unwrap();
    for word in ["<script", "http:", "https:", " src=", "@import", "url("] {
        assert!(
            !text.contains(word),
            "nothing is fetched and nothing runs: {word}"
        );
    }
    assert!(!text.contains(HOSTILE) && !text.contains("<img"));
    let copy = folder.join("looked-at.html");
    fs::write(&copy, text.replace("</body>", LOOK)).unwrap();
    for (width, dark) in [(400, false), (1600, false), (1600, true)] {
        let (found, said) = look(&copy, width, dark);
        let console: Vec<&str> = said.lines().filter(|l| l.contains("CONSOLE")).collect();
        assert!(console.is_empty(), "{console:?}");
        assert_eq!(found["width"], width, "{found}");
        let scroll = found["scroll"].as_u64().unwrap();
        assert!(
            scroll <= u64::from(width),
            "nothing is wider than the window: {found}"
        );
        for none in ["wide", "outside"] {
            assert_eq!(
                found[none].as_array().map(Vec::len),
                Some(0),
                "{width}: {none}: {found}"
            );
        }
        for none in ["unnamed", "flat", "images", "doubled"] {
            assert_eq!(found[none], 0, "{width}: {found}");
        }
        assert!(
            found["svgs"].as_u64().unwrap() >= 6 && found["svgs"] == found["tables"],
            "{found}"
        );
    }
    fs::remove_dir_all(&folder).ok();
}
