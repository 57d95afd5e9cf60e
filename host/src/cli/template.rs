//! `--format`: `json`, or the simple part of Docker's templates: fields by their path and the function `json`.

use std::io::Write;

use anyhow::bail;
use serde_json::Value;

use super::table;

/// How a verb prints what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// The verb's own layout.
    Table,
    /// One JSON object a line.
    Json,
    /// Text and fields.
    Template(Vec<Piece>),
    /// The same after the word `table`: a head first, and what stands between tabs in columns.
    Columns(Vec<Piece>),
}

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// `{{.A.B}}`
    Field(Vec<String>),
    /// `{{json .A.B}}`
    Json(Vec<String>),
}

impl Format {
    pub(crate) fn parse(format: Option<&str>) -> anyhow::Result<Format> {
        match format {
            None | Some("" | "table") => Ok(Format::Table),
            Some("json" | "{{json .}}") => Ok(Format::Json),
            Some(template) => match template.strip_prefix("table ") {
                Some(columns) => Ok(Format::Columns(pieces(columns)?)),
                None => Ok(Format::Template(pieces(template)?)),
            },
        }
    }

    /// One object's line.
    pub(crate) fn line(&self, object: &Value) -> anyhow::Result<String> {
        match self {
            Format::Table | Format::Json => Ok(serde_json::to_string(object)?),
            Format::Template(pieces) | Format::Columns(pieces) => {
                pieces.iter().map(|piece| render(piece, object)).collect()
            }
        }
    }

    /// All objects' lines; `heads` are the columns whose heads are not their names in capitals.
    pub(crate) fn print(&self, out: &mut impl Write, heads: &[(&str, &str)], objects: &[Value]) -> anyhow::Result<()> {
        let lines = objects.iter().map(|object| self.line(object));
        let Format::Columns(pieces) = self else {
            return lines.into_iter().try_for_each(|line| Ok(writeln!(out, "{}", line?)?));
        };
        let head = pieces.iter().map(|piece| head(piece, heads)).collect();
        let all = std::iter::once(Ok(head)).chain(lines).collect::<anyhow::Result<Vec<String>>>()?;
        Ok(table::align(out, &all)?)
    }
}

fn pieces(template: &str) -> anyhow::Result<Vec<Piece>> {
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some((text, after)) = rest.split_once("{{") {
        let Some((action, after)) = after.split_once("}}") else {
            bail!("`{template}` has a `{{{{` without its `}}}}`")
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(unescape(text)));
        }
        let words: Vec<&str> = action.split_whitespace().collect();
        pieces.push(match words.as_slice() {
            [field] if field.starts_with('.') => Piece::Field(path(field)),
            ["json", field] if field.starts_with('.') => Piece::Json(path(field)),
            _ => bail!(
                "`{{{{{action}}}}}` is not supported\nhint: templates know {{{{.Field.Field}}}} and {{{{json .Field}}}}"
            ),
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(unescape(rest)));
    }
    Ok(pieces)
}

fn head(piece: &Piece, heads: &[(&str, &str)]) -> String {
    match piece {
        Piece::Text(text) => text.clone(),
        Piece::Field(path) | Piece::Json(path) => {
            let name = path.last().map_or("", String::as_str);
            let known = heads.iter().find(|(field, _)| *field == name);
            known.map_or_else(|| name.to_uppercase(), |(_, head)| (*head).to_owned())
        }
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

fn path(field: &str) -> Vec<String> {
    field.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn render(piece: &Piece, object: &Value) -> anyhow::Result<String> {
    let find = |path: &[String]| -> anyhow::Result<Value> {
        let mut value = object;
        for name in path {
            let Some(inner) = value.get(name) else { bail!("there is no field `{name}` in `.{}`", path.join(".")) };
            value = inner;
        }
        Ok(value.clone())
    };
    Ok(match piece {
        Piece::Text(text) => text.clone(),
        Piece::Field(path) => match find(path)? {
            Value::String(text) => text,
            Value::Null => "<nil>".to_owned(),
            other => other.to_string(),
        },
        Piece::Json(path) => find(path)?.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(format: &str, expected: Option<&str>) {
        let object = json!({"Name": "/a", "State": {"ExitCode": 3, "Running": false}});
        let line = Format::parse(Some(format)).and_then(|format| format.line(&object)).ok();
        assert_eq!(line.as_deref(), expected, "{format}");
    }

    #[test]
    fn templates_know_fields_and_json() {
        check("{{.State.ExitCode}}", Some("3"));
        check("{{ .Name }}: {{json .Name}}", Some("/a: \"/a\""));
        check("{{json .State}}", Some(r#"{"ExitCode":3,"Running":false}"#));
        check("a\\tb", Some("a\tb"));
        check("{{.Nothing}}", None);
        check("{{range .State}}", None);
        check("{{.Name", None);
    }

    #[test]
    fn a_table_of_a_template_has_a_head() {
        let mut out = Vec::new();
        let format = Format::parse(Some("table {{.ID}}\\t{{.Names}}")).expect("a format");
        let rows = [json!({"ID": "0123456789ab", "Names": "web"})];
        format.print(&mut out, &[("ID", "CONTAINER ID")], &rows).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "CONTAINER ID   NAMES\n0123456789ab   web\n");
    }
}
