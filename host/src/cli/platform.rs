//! A platform as some routes of the API want it: JSON, where others take `os/arch`.

use anyhow::bail;
use serde_json::{Value, json};

/// `os[/arch[/variant]]` as the OCI's object.
pub(crate) fn json(typed: &str) -> anyhow::Result<String> {
    let parts: Vec<&str> = typed.split('/').collect();
    let platform: Value = match parts.as_slice() {
        [os] if !os.is_empty() => json!({ "os": os }),
        [os, arch] => json!({ "os": os, "architecture": arch }),
        [os, arch, variant] => json!({ "os": os, "architecture": arch, "variant": variant }),
        _ => bail!("`{typed}` is no platform\nhint: write it as linux/amd64"),
    };
    Ok(platform.to_string())
}
