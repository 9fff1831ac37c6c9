//! The small files of a checkpoint's folder, read so that its model and format are known. Weights are never loaded: of safetensors files the
//! headers alone are read, and those only where no other file says how the weights are stored.

use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::advisor::checkpoint::{Files, read};
use crate::advisor::{ModelCard, Precision, of_hub_cache};
use crate::consult::without_number;
use crate::snapshot::read_regular;

/// Largest file that is read, bytes.
pub const LARGEST: u64 = 16 << 20;
/// Most files of a folder that are looked at.
const MOST_FILES: usize = 4096;
/// Headers that are read of a checkpoint in several files.
const HEADERS: usize = 3;

/// The card of a folder with `config.json`, or of such a file, and the format of its weights; `None` for 16 bits.
///
/// # Errors
/// Why there is none, in one line with the file's name.
pub fn card(given: &Path) -> Result<(ModelCard, Option<Precision>), String> {
    let (files, file) = files(given)?;
    read(&name_of(given), &files).map_err(|e| format!("{}: {e}", file.display()))
}

/// The name of a model by its place: that of the folder, or of the model in the hub's cache.
pub fn name_of(given: &Path) -> String {
    let text = given.to_string_lossy();
    let cached = of_hub_cache(&text);
    if cached != text {
        return cached;
    }
    let is_file = text.ends_with("/config.json");
    let folder = if is_file { given.parent() } else { Some(given) };
    let last = folder.and_then(Path::file_name);
    last.map_or_else(
        || text.clone().into_owned(),
        |n| n.to_string_lossy().into_owned(),
    )
}

/// The texts, and the file to name in a message.
fn files(given: &Path) -> Result<(Files, PathBuf), String> {
    let text = given.to_string_lossy();
    let mut files = Files::default();
    if text.ends_with(".gguf") {
        files.gguf = true;
        return Ok((files, given.to_path_buf()));
    }
    let (config, folder) = match text.ends_with(".json") {
        true => (
            given.to_path_buf(),
            given.parent().filter(|_| text.ends_with("/config.json")),
        ),
        false => (given.join("config.json"), Some(given)),
    };
    let cannot = |e: io::Error| {
        let why = without_number(&e.to_string());
        format!("cannot read {}: {why}", config.display())
    };
    match read_regular(&config, LARGEST) {
        Ok(bytes) => files.config = Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = folder {
                beside(folder, &mut files);
            }
            return match files.adapter.is_some() || files.gguf {
                true => Ok((files, given.to_path_buf())),
                false => Err(cannot(e)),
            };
        }
        Err(e) => return Err(cannot(e)),
    }
    if let Some(folder) = folder {
        beside(folder, &mut files);
        weights(folder, &mut files);
    }
    Ok((files, config))
}

/// A small file of the folder; `None` where there is none that can be read.
fn small(folder: &Path, name: &str) -> Option<String> {
    let bytes = read_regular(&folder.join(name), LARGEST).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn beside(folder: &Path, files: &mut Files) {
    files.hf_quant_config = small(folder, "hf_quant_config.json");
    files.quantize_config = small(folder, "quantize_config.json");
    files.quant_config = small(folder, "quant_config.json");
    if files.config.is_none() {
        files.adapter = small(folder, "adapter_config.json");
    }
    files.embeds = folder.join("modules.json").is_file();
    files.gguf = listed(folder, ".gguf").next().is_some();
    let own = folder.to_string_lossy();
    files.own_name = (own.len() > 1).then(|| own.into_owned());
}

fn listed(folder: &Path, end: &'static str) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .take(MOST_FILES)
        .map(|e| e.path())
        .filter(move |p| p.to_string_lossy().ends_with(end))
}

/// Index and headers of the weights. Headers are read where there is one file of weights, or no file says a format.
fn weights(folder: &Path, files: &mut Files) {
    files.index = small(folder, "model.safetensors.index.json");
    let mut shards: Vec<PathBuf> = listed(folder, ".safetensors").collect();
    shards.sort();
    files.all_headers = shards.len() == 1 && files.index.is_none();
    let stated = files.hf_quant_config.is_some()
        || files.quantize_config.is_some()
        || files.quant_config.is_some()
        || files
            .config
            .as_ref()
            .is_some_and(|c| c.contains("quantization_config"));
    if stated && !files.all_headers {
        return;
    }
    // The first, the middle and the last: embeddings alone may fill one of them.
    let wanted = match shards.len() {
        n if n <= HEADERS => shards,
        n => [0, n / 2, n - 1]
            .iter()
            .filter_map(|i| shards.get(*i).cloned())
            .collect(),
    };
    files.headers = wanted.iter().filter_map(|p| header(p).ok()).collect();
}

/// The header of a safetensors file: its length in eight bytes, then as much JSON.
fn header(path: &Path) -> io::Result<String> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    // A pipe in its place must not make it wait.
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(0o4000 | 0o2_000_000)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(invalid());
    }
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LARGEST {
        return Err(invalid());
    }
    let mut text = String::new();
    file.take(length).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_folders_or_the_caches() {
        for (folder, name) in [
            ("/models/llama-70b", "llama-70b"),
            ("/models/llama-70b/config.json", "llama-70b"),
            (
                "/hub/models--Qwen--Qwen3-32B/snapshots/9216db5781bf",
                "Qwen/Qwen3-32B",
            ),
        ] {
            assert_eq!(name_of(Path::new(folder)), name);
        }
    }
}
