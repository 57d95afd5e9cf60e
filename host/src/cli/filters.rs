//! `--filter NAME=VALUE` as the API wants it: a JSON map from a name to its wanted values.

use std::collections::BTreeMap;

use super::Failure;

/// The parameter's value; `None` where nothing is filtered.
pub(crate) fn filters(typed: &[String]) -> anyhow::Result<Option<String>> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for filter in typed {
        let Some((name, value)) = filter.split_once('=') else {
            let refusal = anyhow::anyhow!("`{filter}` filters nothing\nhint: write --filter NAME=VALUE");
            // The code that Docker ends with where a flag's value is wrong.
            return Err(Failure::wrap(125, refusal));
        };
        all.entry(name.trim().to_ascii_lowercase()).or_default().push(value.trim());
    }
    Ok(if all.is_empty() { None } else { Some(serde_json::to_string(&all)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_name_stand_together() {
        let typed = ["label=a=b", "Status = exited", "label=c"].map(str::to_owned);
        assert_eq!(filters(&typed).expect("filters").as_deref(), Some(r#"{"label":["a=b","c"],"status":["exited"]}"#));
        assert_eq!(filters(&[]).expect("no filters"), None);
        assert!(filters(&["x".to_owned()]).is_err());
    }
}
