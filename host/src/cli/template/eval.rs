//! A template executed over JSON, and values printed as Go prints them.

use anyhow::bail;
use serde_json::Value;

use super::functions::{self, is_true, print};
use super::parse::{Command, Node, Operand, Pipeline, Template};

/// More output than this is a mistake.
const LONGEST: usize = 64 << 20;
/// Fields that are pointers in Docker's types, whose absence prints as `<nil>`, and those that are maps; lists are the
/// rest.
const POINTERS: [&str; 8] =
    ["Health", "Healthcheck", "Init", "MemorySwappiness", "OomKillDisable", "PidsLimit", "StopTimeout", "GraphDriver"];
const MAPS: [&str; 10] = [
    "Annotations",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

impl Template {
    /// The text of one object.
    pub(super) fn render(&self, object: &Value) -> anyhow::Result<String> {
        Run::new(object, false).all(&self.nodes, object)
    }

    /// The head of its columns: the same over the columns' names, which functions leave as they are.
    pub(super) fn render_head(&self, heads: &Value) -> anyhow::Result<String> {
        Run::new(heads, true).all(&self.nodes, heads)
    }
}

/// What an operand is.
#[derive(Debug, Clone)]
struct Found {
    value: Value,
    /// The field that is not there.
    missing: Option<String>,
}

impl Found {
    fn of(value: Value) -> Found {
        Found { value, missing: None }
    }

    /// The value where its absence is a mistake.
    fn needed(self) -> anyhow::Result<Value> {
        match self.missing {
            Some(field) => bail!("there is no field `{field}`"),
            None => Ok(self.value),
        }
    }
}

struct Run<'v> {
    root: &'v Value,
    head: bool,
    variables: Vec<(String, Value)>,
}

impl<'v> Run<'v> {
    fn new(root: &'v Value, head: bool) -> Run<'v> {
        Run { root, head, variables: Vec::new() }
    }

    fn all(mut self, nodes: &[Node], dot: &Value) -> anyhow::Result<String> {
        let mut out = String::new();
        self.nodes(nodes, dot, &mut out)?;
        Ok(out)
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value, out: &mut String) -> anyhow::Result<()> {
        let scope = self.variables.len();
        for node in nodes {
            self.node(node, dot, out)?;
            if out.len() > LONGEST {
                bail!("the format's output is too long");
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value, out: &mut String) -> anyhow::Result<()> {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Value(pipeline) if !pipeline.names.is_empty() => {
                let value = self.pipeline(pipeline, dot)?.needed()?;
                self.declare(&pipeline.names, vec![value]);
            }
            Node::Value(pipeline) => {
                let value = self.pipeline(pipeline, dot)?.needed()?;
                out.push_str(&self.printed(pipeline, &value));
            }
            Node::If { condition, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipeline(condition, dot)?.value;
                self.declare(&condition.names, vec![value.clone()]);
                self.nodes(if is_true(&value) { then } else { otherwise }, dot, out)?;
                self.variables.truncate(scope);
            }
            Node::With { value, then, otherwise } => {
                let scope = self.variables.len();
                let found = self.pipeline(value, dot)?.value;
                self.declare(&value.names, vec![found.clone()]);
                if is_true(&found) {
                    self.nodes(then, &found, out)?
                } else {
                    self.nodes(otherwise, dot, out)?
                };
                self.variables.truncate(scope);
            }
            Node::Range { over, each, otherwise } => self.range(over, each, otherwise, dot, out)?,
        }
        Ok(())
    }

    fn range(
        &mut self,
        over: &Pipeline,
        each: &[Node],
        otherwise: &[Node],
        dot: &Value,
        out: &mut String,
    ) -> anyhow::Result<()> {
        let items: Vec<(Value, Value)> = match self.pipeline(over, dot)?.value {
            Value::Array(items) => items.into_iter().enumerate().map(|(at, item)| (Value::from(at), item)).collect(),
            Value::Object(items) => {
                let mut items: Vec<_> = items.into_iter().collect();
                items.sort_by(|a, b| a.0.cmp(&b.0));
                items.into_iter().map(|(key, item)| (Value::String(key), item)).collect()
            }
            Value::Null => Vec::new(),
            other => bail!("range can't iterate over {}", print(&other)),
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot, out);
        }
        for (key, item) in items {
            let scope = self.variables.len();
            let values = if over.names.len() > 1 { vec![key, item.clone()] } else { vec![item.clone()] };
            self.declare(&over.names, values);
            self.nodes(each, &item, out)?;
            self.variables.truncate(scope);
        }
        Ok(())
    }

    /// A name that exists is given its new value where it was declared, as `=` and a shadowing `:=` both look alike here.
    fn declare(&mut self, names: &[String], values: Vec<Value>) {
        self.variables.extend(names.iter().cloned().zip(values));
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> anyhow::Result<Found> {
        let mut carried: Option<Found> = None;
        for command in &pipeline.commands {
            carried = Some(self.command(command, dot, carried)?);
        }
        Ok(carried.unwrap_or_else(|| Found::of(Value::Null)))
    }

    fn command(&self, command: &Command, dot: &Value, carried: Option<Found>) -> anyhow::Result<Found> {
        let Operand::Function(name) = &command.head else {
            if let (Some(label), Operand::Field(path)) = (command.arguments.first(), &command.head)
                && path.last().is_some_and(|name| name == "Label")
            {
                let label = self.operand(label, dot)?.needed()?;
                return Ok(Found::of(self.label(dot, &print(&label))));
            }
            if !command.arguments.is_empty() || carried.is_some() {
                bail!("a value is called as if it were a function");
            }
            return self.operand(&command.head, dot);
        };
        let mut arguments = Vec::with_capacity(command.arguments.len() + 1);
        for argument in &command.arguments {
            arguments.push(self.operand(argument, dot)?);
        }
        arguments.extend(carried);
        // These judge values, and one that is not there is as good as an empty one.
        let lenient = matches!(name.as_str(), "and" | "or" | "not" | "eq" | "ne" | "len");
        let arguments = arguments.into_iter().map(|found| if lenient { Ok(found.value) } else { found.needed() });
        let arguments = arguments.collect::<anyhow::Result<Vec<Value>>>()?;
        functions::call(name, arguments, self.head).map(Found::of)
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> anyhow::Result<Found> {
        match operand {
            Operand::Field(path) => follow(dot, path),
            Operand::Variable(name, path) if name.is_empty() => follow(self.root, path),
            Operand::Variable(name, path) => match self.variables.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => follow(value, path),
                None => bail!("the variable `${name}` is not defined"),
            },
            Operand::Nested(pipeline, path) => {
                let found = self.pipeline(pipeline, dot)?;
                if path.is_empty() { Ok(found) } else { follow(&found.value, path) }
            }
            Operand::Literal(value) => Ok(Found::of(value.clone())),
            Operand::Function(name) => functions::call(name, Vec::new(), self.head).map(Found::of),
        }
    }

    /// `.Label "name"`: Docker's rows have it as a method; the head of its column is the label's last word.
    fn label(&self, dot: &Value, name: &str) -> Value {
        if self.head {
            let last = name.rsplit('.').next().unwrap_or(name);
            return Value::String(last.replace(['-', '_'], " "));
        }
        let found = match &dot["Labels"] {
            Value::String(labels) => labels
                .split(',')
                .find_map(|label| label.split_once('=').filter(|(known, _)| *known == name))
                .map(|(_, value)| value.to_owned()),
            labels => labels.get(name).and_then(Value::as_str).map(str::to_owned),
        };
        Value::String(found.unwrap_or_default())
    }

    /// A value as Go prints it; what an absent one prints as depends on its type, which only its name tells.
    fn printed(&self, pipeline: &Pipeline, value: &Value) -> String {
        let field = match (value, pipeline.commands.as_slice()) {
            (Value::Null, [Command { head: Operand::Field(path) | Operand::Variable(_, path), .. }]) => path.last(),
            _ => None,
        };
        match field {
            Some(name) if POINTERS.contains(&name.as_str()) => "<nil>".to_owned(),
            Some(name) if MAPS.contains(&name.as_str()) => "map[]".to_owned(),
            Some(_) => "[]".to_owned(),
            None => print(value),
        }
    }
}

/// The value at a path. A key that begins with a small letter belongs to a map, where an absent one prints as Go's
/// `<no value>`; Docker's own fields begin with a capital.
fn follow(from: &Value, path: &[String]) -> anyhow::Result<Found> {
    let mut value = from;
    for (at, name) in path.iter().enumerate() {
        match value.get(name) {
            Some(inner) => value = inner,
            None if name.starts_with(|c: char| c.is_lowercase()) && value.is_object() => {
                return Ok(Found::of(Value::String("<no value>".to_owned())));
            }
            None => {
                let missing = Some(format!(".{}", path[..=at].join(".")));
                return Ok(Found { value: Value::Null, missing });
            }
        }
    }
    Ok(Found::of(value.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Format;

    fn check(format: &str, expected: Option<&str>) {
        let object = json!({
            "Name": "/a", "State": {"ExitCode": 3, "Running": false},
            "Config": {"Cmd": ["sh", "-c", "x"], "Labels": {"b": "2", "a.c": "1"}, "Entrypoint": null},
            "HostConfig": {"PidsLimit": null, "NanoCpus": 1500000000},
            "Mounts": [{"Type": "bind", "Source": "/x"}, {"Type": "volume", "Source": "/y"}],
            "Ports": {"80/tcp": [{"HostPort": "8080"}], "90/tcp": null},
        });
        let line = Format::parse(Some(format)).and_then(|format| format.line(&object));
        assert_eq!(line.as_ref().ok().map(String::as_str), expected, "{format}: {line:?}");
    }

    #[test]
    fn values_are_printed_as_go_prints_them() {
        check("{{.State.ExitCode}}", Some("3"));
        check("{{ .Name }}: {{json .Name}}", Some("/a: \"/a\""));
        check("{{json .State}}", Some(r#"{"ExitCode":3,"Running":false}"#));
        check("{{.Config.Cmd}}", Some("[sh -c x]"));
        check("{{.Config.Labels}}", Some("map[a.c:1 b:2]"));
        check("{{.Config.Labels.b}}{{.Config.Labels.nothing}}", Some("2<no value>"));
        check("{{.HostConfig.PidsLimit}} {{.Config.Entrypoint}}", Some("<nil> []"));
        check("a\\tb", Some("a\tb"));
    }

    #[test]
    fn blocks_choose_and_repeat() {
        check("{{if .State.Running}}up{{else}}down{{end}}", Some("down"));
        check("{{if .State.Health}}{{.State.Health.Status}}{{else if eq .Name \"/a\"}}none{{end}}", Some("none"));
        check("{{range .Mounts}}{{.Type}}={{.Source}} {{end}}", Some("bind=/x volume=/y "));
        check("{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}};{{end}}", Some("a.c:1;b:2;"));
        check(
            "{{range $p, $c := .Ports}}{{$p}}{{range $c}}->{{.HostPort}}{{else}}!{{end}} {{end}}",
            Some("80/tcp->8080 90/tcp! "),
        );
        check("{{with .State}}{{.ExitCode}}{{$.Name}}{{end}}", Some("3/a"));
        check("{{$x := index .Config.Cmd 1}}{{$x}}", Some("-c"));
        check("a {{- /* nothing */ -}} b", Some("ab"));
        check("a  {{- .State.ExitCode -}}  b", Some("a3b"));
    }

    #[test]
    fn functions_are_go_s_and_docker_s() {
        check("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", Some("8080"));
        check("{{index .Config.Labels \"a.c\"}}{{index .Config.Labels \"no\"}}", Some("1"));
        check("{{join .Config.Cmd \",\"}} {{.Name | upper}} {{title \"ab cd\"}}", Some("sh,-c,x /A Ab Cd"));
        check("{{len .Mounts}} {{len .Name}}", Some("2 2"));
        check(
            "{{printf \"%s-%d|%5s|%-4s|%q|%v|%.2f\" .Name .State.ExitCode \"x\" \"y\" \"z\" true 1.5}}",
            Some("/a-3|    x|y   |\"z\"|true|1.50"),
        );
        check("{{println 1}}", Some("1\n"));
        check("{{split \"a:b\" \":\"}} {{truncate .Name 1}} {{pad \"x\" 1 2}}|", Some("[a b] /  x  |"));
        check("{{if and .Name (not .State.Running) (gt .State.ExitCode 2)}}yes{{end}}", Some("yes"));
        check("{{slice .Name 1}} {{eq .State.ExitCode 1 3}} {{ne 1 2}} {{lt 1 2}}", Some("a true true true"));
    }

    #[test]
    fn mistakes_are_told() {
        for format in [
            "{{.Nothing}}",
            "{{range .State}}",
            "{{.Name",
            "{{end}}",
            "{{bogus .Name}}",
            "{{.Name | }}",
            "{{(.Name}}",
            "{{$x}}",
            "{{index .Config.Cmd 9}}",
            "{{}}",
            "{{\"a}}",
            "{{if .Name}}{{else}}",
        ] {
            check(format, None);
        }
    }
}
