//! The `filters` parameter: `{"name": ["a"]}`, or `{"name": {"a": true}}` from older clients.

use std::collections::HashMap;

use serde_json::Value;

use crate::api::call::Query;
use crate::api::reply::Failure;

/// What a list is narrowed by.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Filters(HashMap<String, Vec<String>>);

impl Filters {
    /// Reads them, refusing any that is not among `known`.
    pub(crate) fn read(query: &Query, known: &[&str]) -> Result<Filters, Failure> {
        let Some(text) = query.get("filters") else { return Ok(Filters::default()) };
        let invalid = || Failure::bad_request("invalid filter: the parameter is not a map of lists");
        let Ok(Value::Object(map)) = serde_json::from_str(text) else { return Err(invalid()) };
        let mut filters = HashMap::new();
        for (name, values) in map {
            if !known.contains(&name.as_str()) {
                return Err(Failure::bad_request(format!("invalid filter '{name}'")));
            }
            let values: Option<Vec<String>> = match values {
                Value::Array(list) => list.into_iter().map(|value| value.as_str().map(str::to_owned)).collect(),
                Value::Object(map) => Some(map.into_iter().map(|(value, _)| value).collect()),
                _ => None,
            };
            filters.insert(name, values.ok_or_else(invalid)?);
        }
        Ok(Filters(filters))
    }

    /// One more value of `name`.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_default().push(value.to_owned());
    }

    /// The values of `name`; none where it is not filtered by.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether `name` filters at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }

    /// Whether any value of `name` satisfies `fits`; true where it is not filtered by.
    pub(crate) fn any(&self, name: &str, fits: impl FnMut(&String) -> bool) -> bool {
        let values = self.values(name);
        values.is_empty() || values.iter().any(fits)
    }

    /// Whether `labels` has none of the labels that `label!` names.
    pub(crate) fn no_labels(&self, labels: Option<&HashMap<String, String>>) -> bool {
        !self.values("label!").iter().any(|unwanted| has_label(labels, unwanted))
    }

    /// Whether `labels` has every label that `label` asks for, as `NAME` or `NAME=VALUE`.
    pub(crate) fn labels(&self, labels: Option<&HashMap<String, String>>) -> bool {
        self.values("label").iter().all(|wanted| has_label(labels, wanted))
    }
}

/// `NAME` or `NAME=VALUE`.
fn has_label(labels: Option<&HashMap<String, String>>, wanted: &str) -> bool {
    let (name, value) = wanted.split_once('=').map_or((wanted, None), |(name, value)| (name, Some(value)));
    let found = labels.and_then(|labels| labels.get(name));
    found.is_some_and(|found| value.is_none_or(|value| found == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_read_and_unknown_names_refused() {
        let read = |text: &str| Filters::read(&Query::parse(&format!("filters={text}")), &["name", "label"]);
        assert_eq!(read(r#"{"name":["a"]}"#).unwrap().values("name"), ["a"]);
        assert_eq!(read(r#"{"name":{"a":true}}"#).unwrap().values("name"), ["a"]);
        for text in [r#"{"x":["a"]}"#, "[]", "{", r#"{"name":1}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
