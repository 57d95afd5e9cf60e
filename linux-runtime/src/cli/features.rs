//! `features`: what this runtime can do (features.md).

use anyhow::Result;
use serde_json::json;

pub(super) fn features() -> Result<()> {
    println!("{:#}", json!({ "ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0" }));
    Ok(())
}
