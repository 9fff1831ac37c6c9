//! `omnipilot models add`: a model that the site serves, from its `config.json` into the configuration.

use std::fs;
use std::path::{Path, PathBuf};

use model_store::advisor::{ModelCard, Precision, python_json};
use model_store::checkpoint_files;
use model_store::config::{Config, DEFAULT_PATH};
use serde_json::json;

use crate::site::SiteArgs;
use crate::{draft, exit, json};

/// Arguments.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of a checkpoint, or a Hugging Face config.json
    path: PathBuf,
    /// Name that users type [default: that of the folder]
    #[arg(long)]
    name: Option<String>,
    /// Show the card, and leave the configuration as it is
    #[arg(long)]
    dry_run: bool,
}

/// A model that is understood.
struct Found {
    name: String,
    config: PathBuf,
    card: ModelCard,
    /// The checkpoint in the folder, by its format.
    checkpoint: Option<(Precision, PathBuf)>,
}

/// Reads, shows, and adds.
pub(super) fn add(site: &SiteArgs, args: &Args, as_json: bool) -> anyhow::Result<()> {
    let found = find(args)?;
    let file = site.file().unwrap_or_else(|| DEFAULT_PATH.into());
    if !args.dry_run {
        write(&file, &found, &site.config()?)?;
    }
    if as_json {
        let object = json!({
            "model": found.name, "card": found.card, "config": found.config,
            "checkpoint": found.checkpoint.as_ref().map(|(p, path)| json!({ "precision": p.name(), "path": path })),
            "added_to": (!args.dry_run).then(|| file.display().to_string()),
        });
        return Ok(json::print("models.add", object)?);
    }
    println!("{}: {}", found.name, in_words(&found.card));
    match &found.checkpoint {
        Some((format, path)) => println!("checkpoint: {} in {}", format.name(), path.display()),
        None => println!("checkpoint: none beside it; the engine has to find one by the name"),
    }
    if !args.dry_run {
        println!("added to {}", file.display());
        exit::hint("`omnipilot observe` publishes it");
    }
    Ok(())
}

fn find(args: &Args) -> anyhow::Result<Found> {
    let wrong = |reason: String, hint: &str| exit::with_code(exit::USAGE, reason, hint);
    let (card, format) = checkpoint_files::card(&args.path).map_err(|reason| {
        let hint = match reason.starts_with("cannot read") {
            true => "the folder of a checkpoint or its config.json is wanted",
            false => "sizes and memory would be wrong, so no card is made; the catalogue may have an architecture like it: `--llm-model=NAME`",
        };
        wrong(reason, hint)
    })?;
    let config = match args.path.is_dir() {
        true => args.path.join("config.json"),
        false => args.path.clone(),
    };
    let hint = "the folder of a checkpoint or its config.json is wanted";
    let cannot = |e: std::io::Error| wrong(format!("cannot read {}: {e}", config.display()), hint);
    let config = fs::canonicalize(&config).map_err(cannot)?;
    let text = fs::read_to_string(&config).map_err(cannot)?;
    let folder = config.parent().unwrap_or(Path::new("/")).to_path_buf();
    let name = args.name.clone();
    Ok(Found {
        checkpoint: has_weights(&folder)
            .then(|| (format.unwrap_or_else(|| stored(&text)), folder.clone())),
        name: name.unwrap_or_else(|| checkpoint_files::name_of(&folder)),
        config,
        card,
    })
}

/// The format of weights that are not quantised.
fn stored(text: &str) -> Precision {
    let config = python_json::parse(text).unwrap_or_default();
    let of = |key: &str| config.get(key)?.as_str().map(str::to_owned);
    let kind = of("torch_dtype")
        .or_else(|| of("dtype"))
        .unwrap_or_default();
    match kind.as_str() {
        "float16" => Precision::Fp16,
        "float32" => Precision::Fp32,
        _ => Precision::Bf16,
    }
}

fn has_weights(folder: &Path) -> bool {
    let ends = |name: &str| name.ends_with(".safetensors") || name.ends_with(".bin");
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    listed
        .into_iter()
        .any(|e| ends(&e.file_name().to_string_lossy()))
}

fn in_words(card: &ModelCard) -> String {
    let billions = |n: f64| format!("{:.1} B parameters", n / 1e9);
    let experts = match card.is_moe() {
        true => format!(
            ", {} used by a token; {} experts, {} of them and {} shared ones a token",
            billions(card.active_params),
            card.experts,
            card.experts_per_token,
            card.shared_experts
        ),
        false => String::new(),
    };
    let window = match card.sliding_layers {
        0 => String::new(),
        n => format!(
            ", {n} of them with a window of {} tokens",
            card.sliding_window
        ),
    };
    let without = match card.cacheless_layers {
        0 => String::new(),
        n => format!(", {n} of them without a cache that grows"),
    };
    format!(
        "family {}, {}{experts}; {} layers{window}{without}; {}",
        card.family,
        billions(card.params),
        card.layers,
        cache_in_words(card)
    )
}

/// What a token takes in the cache, how much of it beyond the windows, and what states a request holds whatever its length.
fn cache_in_words(card: &ModelCard) -> String {
    let kib = |bytes: f64| format!("{:.1} KiB", bytes / 1024.0);
    let first = card.kv_bytes_per_token(2.0, 1.0);
    let mut text = format!("{} of 16-bit KV cache a token", kib(first));
    if card.sliding_layers > 0 {
        let growing = card.kv_bytes_per_token(2.0, f64::INFINITY);
        text += &format!(", {} of it beyond the windows", kib(growing));
    }
    if card.state_bytes > 0.0 {
        let states = card.state_bytes / 1024.0 / 1024.0;
        text += &format!("; {states:.1} MiB of states a request");
    }
    text
}

/// Appends the model, once the whole is known to be a configuration.
fn write(file: &Path, found: &Found, config: &Config) -> anyhow::Result<()> {
    if config.model.contains_key(&found.name) {
        return Err(exit::with_code(
            exit::USAGE,
            format!("{} has a model `{}` already", file.display(), found.name),
            "`--name` gives this one another name; or change the entry by hand",
        ));
    }
    let cannot = |e: std::io::Error| {
        exit::fail(
            format!("cannot write {}: {e}", file.display()),
            "run it as a user who may; `--dry-run` shows the card alone",
        )
    };
    let text = fs::read_to_string(file).map_err(cannot)? + &section(found);
    Config::parse(&text)
        .map_err(|e| exit::fail(format!("{}: {e}", file.display()), "nothing was changed"))?;
    let mode = draft::mode_of(&fs::metadata(file).map_err(cannot)?);
    draft::replace(file, &text, mode).map_err(cannot)
}

fn section(found: &Found) -> String {
    let quoted = |p: &str| crate::cmd::setup::toml_string(p);
    let path = |p: &Path| quoted(&p.display().to_string());
    let mut text = format!(
        "\n# {}\n[model.{}]\nconfig = {}\n",
        in_words(&found.card),
        quoted(&found.name),
        path(&found.config)
    );
    if let Some((format, folder)) = &found.checkpoint {
        text += &format!("checkpoints = {{ {} = {} }}\n", format.name(), path(folder));
    }
    text
}
