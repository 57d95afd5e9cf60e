//! What a user has set for Docker's command line in its config.json, as far as it is about this one; logins are
//! the registry crate's.

/// The keys to detach with; settings that cannot be read have none.
pub(crate) fn detach_keys() -> Option<String> {
    let text = std::fs::read(proa_registry::docker_config()?).ok()?;
    let settings: serde_json::Value = serde_json::from_slice(&text).ok()?;
    settings["detachKeys"].as_str().filter(|keys| !keys.is_empty()).map(str::to_owned)
}
