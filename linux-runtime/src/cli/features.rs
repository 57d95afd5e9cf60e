//! `features`: what this runtime can do (features.md).

use anyhow::Result;
use serde_json::Value;

pub(super) fn features() -> Result<()> {
    let mut document = serde_json::to_value(proa_linux::features()?)?;
    drop_nulls(&mut document);
    println!("{document:#}");
    Ok(())
}

/// What is not known has no key; null would say that it is known to be nothing (features.md).
fn drop_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(drop_nulls);
    }
}
