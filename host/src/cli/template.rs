//! `--format`: `json`, or Docker's templates, which are Go's (text/template) over the names of Docker's fields.
//!
//! [`parse`] reads a template, [`eval`] executes it over JSON, [`functions`] are what it may call.

mod eval;
mod functions;
mod lex;
mod parse;

use std::io::Write;

use serde_json::{Map, Value};

use self::parse::Template;
use super::table;

/// How a verb prints what it found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    /// The verb's own layout.
    Table,
    /// One JSON object a line.
    Json,
    /// Text and fields.
    Template(Template),
    /// The same after the word `table`: a head first, and what stands between tabs in columns.
    Columns(Template),
}

impl Format {
    pub(crate) fn parse(format: Option<&str>) -> anyhow::Result<Format> {
        match format {
            None | Some("" | "table") => Ok(Format::Table),
            Some("json" | "{{json .}}") => Ok(Format::Json),
            Some(template) => match template.strip_prefix("table ") {
                Some(columns) => Ok(Format::Columns(Template::parse(columns.trim_start())?)),
                None => Ok(Format::Template(Template::parse(template)?)),
            },
        }
    }

    /// The verb's own layout as a template, where nothing else was asked for.
    pub(crate) fn or(self, columns: &str) -> anyhow::Result<Format> {
        if self == Format::Table { Format::parse(Some(columns)) } else { Ok(self) }
    }

    /// One object's line.
    pub(crate) fn line(&self, object: &Value) -> anyhow::Result<String> {
        match self {
            Format::Table | Format::Json => Ok(serde_json::to_string(object)?),
            Format::Template(template) | Format::Columns(template) => template.render(object),
        }
    }

    /// All objects' lines; `heads` are the columns whose heads are not their names in capitals.
    pub(crate) fn print(&self, out: &mut impl Write, heads: &[(&str, &str)], objects: &[Value]) -> anyhow::Result<()> {
        let lines = objects.iter().map(|object| self.line(object));
        let Format::Columns(template) = self else {
            return lines.into_iter().try_for_each(|line| Ok(writeln!(out, "{}", line?)?));
        };
        let head = template.render_head(&head_object(template, heads))?;
        let all = std::iter::once(Ok(head)).chain(lines).collect::<anyhow::Result<Vec<String>>>()?;
        Ok(table::align(out, &all)?)
    }

    /// Whether any of these fields is asked for, so that what is dear to know is asked of the host only then.
    pub(crate) fn mentions(&self, fields: &[&str]) -> bool {
        match self {
            Format::Table => false,
            Format::Json => true,
            Format::Template(template) | Format::Columns(template) => {
                template.fields().iter().any(|field| fields.contains(&field.as_str()))
            }
        }
    }
}

/// The head of every column that the template asks for, under the column's own name.
fn head_object(template: &Template, heads: &[(&str, &str)]) -> Value {
    let head = |field: &String| {
        let known = heads.iter().find(|(name, _)| name == field);
        let head = known.map_or_else(|| field.to_uppercase(), |(_, head)| (*head).to_owned());
        (field.clone(), Value::String(head))
    };
    Value::Object(template.fields().iter().map(head).collect::<Map<String, Value>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_of_a_template_has_a_head() {
        let mut out = Vec::new();
        let format =
            Format::parse(Some("table {{.ID}}\\t{{upper .Names}}\\t{{.Label \"a.the-one\"}}")).expect("a format");
        let rows = [json!({"ID": "0123456789ab", "Names": "web", "Labels": "x=y,a.the-one=1"})];
        format.print(&mut out, &[("ID", "CONTAINER ID")], &rows).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "CONTAINER ID   NAMES     the one\n0123456789ab   WEB       1\n");
    }

    #[test]
    fn a_format_knows_what_it_asks_for() {
        let asks = |format: &str| Format::parse(Some(format)).expect("a format").mentions(&["Size"]);
        assert!(asks("{{if .ID}}{{.Size}}{{end}}") && asks("json") && asks("table {{.Size}}"));
        assert!(!asks("{{.ID}}") && !asks("table"));
    }
}
