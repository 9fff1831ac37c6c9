//! Models of a site's own and of its users: what jobs measured of them is learnt from.

use model_store::advisor::{ModelCard, StartLog};

use crate::site::{COMMENT, Site, TRES, outcome, row};

const LLAMA: &str = include_str!("../../../model-store/tests/configs/Llama-3.1-8B.json");
/// Jobs of the model.
const JOBS: u64 = 6;
/// Of which so many of one user are learnt from in one cell.
const SHARE: u64 = 4;

fn start() -> StartLog {
    StartLog {
        kv_tokens: Some(200_000.0),
        memory_share: Some(0.5),
        storage: "lustre:/scratch".into(),
        ..StartLog::default()
    }
}

/// Outcomes of so many jobs with a model of this name and, as the engine's folder had it, card.
fn serve(site: &Site, model: &str, card: Option<&ModelCard>) {
    let rows: Vec<String> = (1..=JOBS)
        .map(|job| row(site, job, "COMPLETED", TRES, COMMENT))
        .collect();
    site.accounting(&rows);
    for job in 1..=JOBS {
        let mut told = outcome(site, job);
        told.asked.model = model.into();
        told.asked.card = card.cloned();
        told.windows[0].output_tok_s = 1900.0 + job as f64;
        told.start = Some(start());
        site.put(&format!("{job}.json"), &told);
    }
    assert_eq!(site.ingest()["runs"], JOBS);
}

fn learnt(site: &Site) -> serde_json::Value {
    site.json(&["train"])["report"]["evidence"]["this_cluster"].clone()
}

/// An architecture that no published model has.
fn unknown() -> String {
    LLAMA.replace("\"num_hidden_layers\": 32", "\"num_hidden_layers\": 37")
}

#[test]
fn runs_of_a_model_that_the_site_has_added_are_learnt_from() {
    let site = Site::small();
    assert_ne!(unknown(), LLAMA);
    std::fs::write(site.path("config.json"), unknown()).unwrap();
    let config = std::fs::read_to_string(site.path("omnipilot.toml")).unwrap();
    let section = format!(
        "[model.\"our/own\"]\nconfig = \"{}\"\n",
        site.path("config.json").display()
    );
    std::fs::write(site.path("omnipilot.toml"), config + &section).unwrap();
    serve(&site, "our/own", None);
    assert_eq!(learnt(&site), SHARE);
}

#[test]
fn a_users_tuning_in_a_folder_counts_as_the_model_that_it_is_of() {
    let site = Site::small();
    let (mut card, _) = ModelCard::from_hf_config("tuned", LLAMA).unwrap();
    // Some words of its own.
    card.vocab += 64;
    serve(&site, "/home/alice/our-tuning", Some(&card));
    let runs = site.runs_here();
    assert!(
        runs.iter()
            .all(|r| r.case.model == "meta-llama/Llama-3.1-8B"),
        "{}",
        runs[0].case.model
    );
    assert!(
        runs[0].notes.ends_with("; model=/home/alice/our-tuning"),
        "{}",
        runs[0].notes
    );
    // The name stands beside what the engine said of its start.
    assert!(runs.iter().all(|r| StartLog::in_notes(&r.notes) == start()));
    assert_eq!(learnt(&site), SHARE);
}

#[test]
fn an_architecture_that_nobody_knows_is_kept_and_not_taken_for_another() {
    let site = Site::small();
    let (card, _) = ModelCard::from_hf_config("own", &unknown()).unwrap();
    serve(&site, "/home/alice/own", Some(&card));
    let runs = site.runs_here();
    assert_eq!(runs[0].case.model, "/home/alice/own");
    assert!(
        runs[0].notes.contains("; architecture=37x4096 h32k8d128"),
        "{}",
        runs[0].notes
    );
    assert_eq!(StartLog::in_notes(&runs[0].notes), start());
    assert_eq!(learnt(&site), 0);
}

#[test]
fn a_folder_whose_format_is_not_known_is_not_added() {
    let site = Site::small();
    let folder = site.path("hqq");
    std::fs::create_dir(&folder).unwrap();
    let quantised = LLAMA.replacen(
        '{',
        r#"{"quantization_config": {"quant_method": "hqq"},"#,
        1,
    );
    std::fs::write(folder.join("config.json"), quantised).unwrap();
    let out = site.run(&["models", "add", "--dry-run", folder.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{told}");
    assert!(
        told.contains("unknown weight format: config.json says hqq"),
        "{told}"
    );
}
