//! The architecture of what an engine serves, from the `config.json` that it was given or has fetched. Read once the engine answers: whatever
//! file system it lies on, the engine has read it by then.

use std::fs;
use std::path::{Path, PathBuf};

use model_store::advisor::ModelCard;
use model_store::consult::from_path;

use super::plan::Env;

/// Longest name of a revision in the hub's cache, bytes.
const LONGEST_REVISION: usize = 64;

/// The card of a folder, or of a name whose files lie in the Hugging Face cache; `None` where there is no `config.json` that is understood.
pub(crate) fn card_of(model: &str, env: Env) -> Option<ModelCard> {
    let folder = Path::new(model);
    let folder = if folder.is_dir() {
        std::path::absolute(folder).ok()?
    } else {
        in_cache(model, env)?
    };
    let (card, _) = from_path(folder.to_str()?).ok()??;
    Some(card)
}

/// `models--ORG--NAME/snapshots/REVISION` of the revision that `main` was when it was fetched.
fn in_cache(model: &str, env: Env) -> Option<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if model.contains("..") || model.starts_with('/') || !model.chars().all(plain) {
        return None;
    }
    let under = |name: &str, rest: &str| env(name).map(|root| Path::new(&root).join(rest));
    let hub = under("HF_HUB_CACHE", "")
        .or_else(|| under("HUGGINGFACE_HUB_CACHE", ""))
        .or_else(|| under("HF_HOME", "hub"))
        .or_else(|| under("XDG_CACHE_HOME", "huggingface/hub"))
        .or_else(|| under("HOME", ".cache/huggingface/hub"))?;
    let root = hub.join(format!("models--{}", model.replace('/', "--")));
    let revision = fs::read_to_string(root.join("refs/main")).ok()?;
    let revision = revision.trim();
    let fits = (1..=LONGEST_REVISION).contains(&revision.len())
        && revision.chars().all(|c| c.is_ascii_hexdigit());
    fits.then(|| root.join("snapshots").join(revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = include_str!("../../../model-store/tests/configs/Llama-3.1-8B.json");

    #[test]
    fn the_card_of_a_folder_and_of_a_name_in_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap().to_owned();
        fs::write(dir.path().join("config.json"), CONFIG).unwrap();
        assert_eq!(card_of(&home, &|_| None).unwrap().layers, 32);
        let root = dir.path().join("hub/models--org--some-8b");
        fs::create_dir_all(root.join("refs")).unwrap();
        fs::create_dir_all(root.join("snapshots/0a1b")).unwrap();
        fs::write(root.join("refs/main"), "0a1b\n").unwrap();
        fs::write(root.join("snapshots/0a1b/config.json"), CONFIG).unwrap();
        let env = |name: &str| (name == "HF_HOME").then(|| home.clone());
        assert_eq!(card_of("org/some-8b", &env).unwrap().hidden, 4096);
        for wrong in ["org/other", "../hub", "", "org/some-8b\n"] {
            assert_eq!(card_of(wrong, &env), None, "{wrong}");
        }
        for revision in ["../../..", "", &"a".repeat(65)] {
            fs::write(root.join("refs/main"), revision).unwrap();
            assert_eq!(card_of("org/some-8b", &env), None, "{revision}");
        }
    }
}
