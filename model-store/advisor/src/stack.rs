//! What an engine adds to the operations, by engine and release: the level that a stack of some
//! year runs at.

/// Numbers of a stack.
pub const PARTS: usize = 7;

/// What an engine makes of the operations. Seconds where not a factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stack {
    /// Factor on prefill.
    pub prefill: f64,
    /// Factor on the decode step.
    pub step: f64,
    /// Factor on routed experts, beside the other two.
    pub experts: f64,
    /// What each step adds: scheduling, sampling, launches.
    pub each_step: f64,
    /// What each sequence in flight adds to a step: detokenising, bookkeeping.
    pub each_sequence: f64,
    /// What a request waits beside its prefill: the server's own latency.
    pub arrival: f64,
    /// Share of the other requests' prefills that a request's first token waits for: requests that
    /// start together end together, so arrivals come in bunches.
    pub bunching: f64,
}

/// How much (log) each number varies from stack to stack of one engine and year, one standard
/// deviation: prefill, step, experts, each step, each sequence, arrival, bunching.
pub const VARIES: [f64; PARTS] = [0.20, 0.15, 0.30, 0.60, 0.90, 0.80, 0.60];

/// A stack of a year: year of release, then the numbers of [`Stack`], with times in ms and, for each
/// sequence, in microseconds.
type Anchor = (f64, [f64; PARTS]);

/// Levels by engine, oldest first; between two of them they are interpolated by date, before the
/// first and after the last they stay. Fitted to the measured sources of `docs/accuracy.md`
/// (least squares of the log of a request's time, one fit a source, engine and half year).
const STACKS: [(&str, &[Anchor]); 7] = [
    (
        "vllm",
        &[
            (2023.7, [1.55, 0.76, 1.0, 22.0, 100.0, 60.0, 0.20]),
            // Until 0.6 the server shared a process with the engine and held it up for each sequence.
            (2024.45, [1.5, 1.20, 1.0, 10.0, 330.0, 60.0, 0.15]),
            (2024.68, [1.4, 1.15, 1.0, 6.0, 120.0, 60.0, 0.15]),
            (2025.1, [1.3, 1.00, 1.0, 4.0, 60.0, 40.0, 0.12]),
            (2025.9, [0.98, 0.95, 1.0, 1.3, 10.0, 22.0, 0.075]),
        ],
    ),
    (
        "tensorrt-llm",
        &[
            (2023.9, [1.3, 0.93, 0.5, 1.2, 10.0, 40.0, 0.12]),
            (2024.6, [0.94, 1.00, 0.47, 0.8, 9.0, 40.0, 0.10]),
            (2025.5, [0.97, 0.85, 0.90, 1.2, 25.0, 90.0, 0.085]),
        ],
    ),
    (
        "sglang",
        &[
            (2024.1, [1.3, 1.00, 1.0, 4.0, 60.0, 50.0, 0.15]),
            (2025.5, [1.03, 0.95, 0.85, 1.4, 15.0, 80.0, 0.15]),
        ],
    ),
    (
        // Up to 1.15, with TensorRT-LLM; fitted to nine runs of its own documentation.
        "nim",
        &[(2025.2, [0.80, 1.03, 0.9, 0.8, 25.0, 6.0, 0.035])],
    ),
    (
        "lmdeploy",
        &[
            (2024.0, [1.3, 0.96, 0.9, 0.3, 37.0, 40.0, 0.12]),
            (2026.0, [1.0, 0.95, 0.95, 1.0, 15.0, 35.0, 0.10]),
        ],
    ),
    (
        "deepspeed",
        &[(2024.5, [3.0, 0.80, 0.8, 7.0, 14.0, 40.0, 0.12])],
    ),
    (
        "tgi",
        &[
            (2023.8, [1.4, 1.00, 1.0, 15.0, 1500.0, 60.0, 0.20]),
            (2025.0, [1.3, 1.00, 1.0, 4.0, 60.0, 40.0, 0.12]),
        ],
    ),
];

/// Eager PyTorch without CUDA graphs or a serving loop.
const EAGER: [f64; PARTS] = [1.1, 2.0, 1.0, 30.0, 10.0, 10.0, 0.12];

/// An engine that is not known, of today.
const TODAY: [f64; PARTS] = [1.0, 0.95, 0.95, 1.4, 12.0, 30.0, 0.09];

/// What an engine's name begins with that stands for another's level.
const KIN: [(&str, &str); 4] = [
    ("tgis", "tgi"),
    ("text-generation", "tgi"),
    ("trt", "tensorrt-llm"),
    ("nvidia tensorrt", "tensorrt-llm"),
];

/// A minor version: major, minor, the year in which it came out with its fraction.
type Release = (u32, u32, f64);

/// When minor versions came out, from the upload dates of the Python package index.
const RELEASES: [(&str, &[Release]); 5] = [
    (
        // NVIDIA's release notes; TensorRT-LLM up to 1.15, vLLM from 2.0 on.
        "nim",
        &[
            (1, 0, 2024.42),
            (1, 2, 2024.70),
            (1, 4, 2024.95),
            (1, 8, 2025.25),
            (1, 14, 2025.85),
            (2, 0, 2026.20),
        ],
    ),
    (
        "vllm",
        &[
            (0, 1, 2023.47),
            (0, 2, 2023.74),
            (0, 3, 2024.08),
            (0, 4, 2024.25),
            (0, 5, 2024.44),
            (0, 6, 2024.68),
            (0, 7, 2025.07),
            (0, 8, 2025.21),
            (0, 9, 2025.41),
            (0, 10, 2025.56),
            (0, 11, 2025.76),
            (0, 12, 2025.92),
        ],
    ),
    (
        "sglang",
        &[
            (0, 1, 2024.04),
            (0, 2, 2024.56),
            (0, 3, 2024.67),
            (0, 4, 2024.92),
            (0, 5, 2025.61),
        ],
    ),
    (
        "tensorrt-llm",
        &[
            (0, 5, 2023.80),
            (0, 7, 2023.97),
            (0, 8, 2024.16),
            (0, 9, 2024.28),
            (0, 10, 2024.43),
            (0, 11, 2024.54),
            (0, 12, 2024.66),
            (0, 13, 2024.75),
            (0, 14, 2024.84),
            (0, 15, 2024.93),
            (0, 16, 2024.98),
            (0, 17, 2025.08),
            (0, 18, 2025.25),
            (0, 19, 2025.35),
            (0, 20, 2025.46),
            (0, 21, 2025.59),
            (1, 0, 2025.73),
            (1, 1, 2025.96),
            (1, 2, 2026.19),
        ],
    ),
    (
        "lmdeploy",
        &[
            (0, 0, 2023.73),
            (0, 1, 2023.96),
            (0, 2, 2024.05),
            (0, 4, 2024.31),
            (0, 5, 2024.50),
            (0, 6, 2024.70),
            (0, 7, 2025.04),
            (0, 9, 2025.46),
            (0, 11, 2025.92),
        ],
    ),
];

/// First major version of NVIDIA NIM that serves with vLLM; those before serve with TensorRT-LLM.
const NIM_WITH_VLLM: u32 = 2;

/// The engine that works inside another one's name: NVIDIA NIM is a container around one.
pub fn inner<'a>(engine: &'a str, version: &str) -> &'a str {
    if engine != "nim" {
        return engine;
    }
    match minor(version) {
        Some((major, _)) if major < NIM_WITH_VLLM => "tensorrt-llm",
        _ => "vllm",
    }
}

/// The engine whose levels count for a name and a version.
fn level_of<'a>(engine: &'a str, version: &str) -> &'a str {
    match inner(engine, version) {
        "tensorrt-llm" if engine == "nim" => engine,
        other => kin(other),
    }
}

/// The engine whose levels count for a name.
fn kin(engine: &str) -> &str {
    let stands_for = KIN.iter().find(|(start, _)| engine.starts_with(start));
    if let Some((_, name)) = stands_for {
        return name;
    }
    let known = STACKS.iter().find(|(name, _)| engine.starts_with(name));
    known.map_or(engine, |(name, _)| name)
}

/// True for an engine whose level is known by itself.
pub fn is_known(engine: &str) -> bool {
    STACKS.iter().any(|(name, _)| *name == kin(engine))
}

/// The first two numbers of a version, as in `v0.11.2`; `None` where it does not begin with two.
fn minor(version: &str) -> Option<(u32, u32)> {
    let text = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let major: u32 = numbers.next()?.parse().ok()?;
    let minor: u32 = numbers.next()?.parse().ok()?;
    text.contains('.').then_some((major, minor))
}

/// A date such as `2024-05` at the start of a version.
fn stated_date(version: &str) -> Option<f64> {
    let mut parts = version.split('-');
    let year: f64 = parts.next()?.trim().parse().ok()?;
    let month: Option<f64> = parts.next().and_then(|m| {
        let digits: String = m.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    (2015.0..2100.0)
        .contains(&year)
        .then(|| year + month.map_or(0.5, |m| (m - 1.0) / 12.0))
}

/// When an engine's version came out, in years; `None` where that is not known: a version that
/// nobody states means a recent one.
pub fn released(engine: &str, version: &str) -> Option<f64> {
    if let Some(date) = stated_date(version) {
        return Some(date);
    }
    let (_, releases) = RELEASES.iter().find(|(name, _)| *name == kin(engine))?;
    let asked = minor(version)?;
    let before = releases
        .iter()
        .take_while(|(major, minor, _)| (*major, *minor) <= asked);
    let (_, _, date) = before.last().or_else(|| releases.first())?;
    Some(*date)
}

impl Stack {
    /// The level at which an engine's version is expected to run.
    pub fn of(engine: &str, version: &str) -> Self {
        let name = level_of(engine, version);
        let Some((_, anchors)) = STACKS.iter().find(|(known, _)| *known == name) else {
            let eager = [
                "transformers",
                "pytorch",
                "bitsandbytes",
                "autogptq",
                "autoawq",
            ];
            let is_eager = eager.iter().any(|word| engine.contains(word));
            return Self::from_parts(if is_eager { EAGER } else { TODAY });
        };
        let date = released(engine, version).unwrap_or(f64::INFINITY);
        Self::from_parts(at_date(anchors, date))
    }

    fn from_parts(p: [f64; PARTS]) -> Self {
        let [
            prefill,
            step,
            experts,
            each_step,
            each_sequence,
            arrival,
            bunching,
        ] = p;
        Self {
            prefill,
            step,
            experts,
            each_step: each_step * 1e-3,
            each_sequence: each_sequence * 1e-6,
            arrival: arrival * 1e-3,
            bunching,
        }
    }
}

/// The numbers at a date, in between by their logarithms.
fn at_date(anchors: &[Anchor], date: f64) -> [f64; PARTS] {
    let (Some(first), Some(last)) = (anchors.first(), anchors.last()) else {
        return TODAY;
    };
    let between = anchors.windows(2).find_map(|w| match w {
        [a, b] if a.0 <= date && date < b.0 => Some((a, b)),
        _ => None,
    });
    let Some((a, b)) = between else {
        return if date < first.0 { first.1 } else { last.1 };
    };
    let share = (date - a.0) / (b.0 - a.0);
    let mut out = a.1;
    for (x, y) in out.iter_mut().zip(b.1) {
        *x = (x.ln() * (1.0 - share) + y.ln() * share).exp();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_nobody_states_is_a_recent_one() {
        for engine in ["vllm", "sglang", "tensorrt-llm"] {
            let unknown = Stack::of(engine, "");
            assert_eq!(unknown, Stack::of(engine, "99.0"), "{engine}");
        }
        let (old, new) = (Stack::of("vllm", "0.2.7"), Stack::of("vllm", "0.19.0"));
        assert!(old.each_step > 5.0 * new.each_step);
        let between = Stack::of("vllm", "0.7.0");
        assert!(between.each_step < old.each_step && between.each_step > new.each_step);
    }

    #[test]
    fn versions_have_dates() {
        let about = |engine, version, year: f64| {
            let date = released(engine, version).unwrap();
            assert!((date - year).abs() < 0.1, "{engine} {version}: {date}");
        };
        about("vllm", "v0.6.3", 2024.7);
        about("vllm", "0.5.4 (2024-09, per repo)", 2024.44);
        about("tensorrt-llm", "1.2.0rc6.post1", 2026.19);
        about("tgis", "2023-10", 2023.75);
        about("lmdeploy", "v0.1.0a1", 2023.96);
        assert_eq!(released("vllm", "nightly-5b8c30d"), None);
        assert_eq!(released("vllm", ""), None);
        assert_eq!(released("another", "1.0"), None);
    }
}
