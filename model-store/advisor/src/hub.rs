//! Names of models on the hub, and in the folders of its cache.

/// The model's own part of a name: what stands behind the owner; of a path in the hub's cache
/// (`models--OWNER--NAME/snapshots/REVISION`) the name; of any other path its last folder.
pub(super) fn tail(name: &str) -> &str {
    let name = name.trim().trim_end_matches('/');
    if let Some(cached) = in_hub_cache(name) {
        return cached.rsplit("--").next().unwrap_or(cached);
    }
    name.rsplit('/').next().unwrap_or(name)
}

/// `OWNER/NAME` of a path in the hub's cache; the name itself where it is no such path.
pub fn of_hub_cache(name: &str) -> String {
    in_hub_cache(name).map_or_else(|| name.to_owned(), |cached| cached.replacen("--", "/", 1))
}

/// `OWNER--NAME` of a path that goes through the hub's cache.
fn in_hub_cache(path: &str) -> Option<&str> {
    path.split('/')
        .find_map(|part| part.strip_prefix("models--"))
        .filter(|cached| !cached.is_empty())
}
