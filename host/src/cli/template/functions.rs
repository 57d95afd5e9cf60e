//! What a template may call: Go's own functions and Docker's.

use std::cmp::Ordering;

use anyhow::bail;
use serde_json::{Number, Value};

const KNOWN: [&str; 26] = [
    "and", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne", "not", "or",
    "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper", "urlquery",
];

pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// A number as JSON has it: whole where it is.
pub(super) fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::from(number as i64)
    } else {
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

/// Calls a function; in the head of a table, those that change a text leave it as it is.
pub(super) fn call(name: &str, arguments: Vec<Value>, head: bool) -> anyhow::Result<Value> {
    let text = |at: usize| arguments.get(at).map(print).ok_or_else(|| anyhow::anyhow!("`{name}` lacks a value"));
    let value = |at: usize| arguments.get(at).ok_or_else(|| anyhow::anyhow!("`{name}` lacks a value"));
    let string = |text: String| Ok(Value::String(text));
    match name {
        "json" | "title" | "lower" | "upper" | "truncate" | "join" if head => string(text(0)?),
        "json" => string(serde_json::to_string(value(0)?)?),
        "lower" => string(text(0)?.to_lowercase()),
        "upper" => string(text(0)?.to_uppercase()),
        "title" => string(title(&text(0)?)),
        "truncate" => string(text(0)?.chars().take(whole(value(1)?)?).collect()),
        "pad" => {
            let (before, after) = (whole(value(1)?)?.min(1024), whole(value(2)?)?.min(1024));
            string(format!("{}{}{}", " ".repeat(before), text(0)?, " ".repeat(after)))
        }
        "join" => match value(0)? {
            Value::Array(items) => string(items.iter().map(print).collect::<Vec<_>>().join(&text(1)?)),
            Value::Null => string(String::new()),
            other => bail!("`join` wants a list, not {}", print(other)),
        },
        "split" => Ok(Value::Array(text(0)?.split(&text(1)?).map(Value::from).collect())),
        "len" => length(value(0)?),
        "index" => index(&arguments),
        "slice" => slice(&arguments),
        "and" => Ok(arguments.iter().find(|value| !is_true(value)).or(arguments.last()).cloned().unwrap_or_default()),
        "or" => Ok(arguments.iter().find(|value| is_true(value)).or(arguments.last()).cloned().unwrap_or_default()),
        "not" => Ok(Value::Bool(!is_true(value(0)?))),
        "eq" => {
            value(1)?;
            Ok(Value::Bool(arguments[1..].iter().any(|other| equal(&arguments[0], other))))
        }
        "ne" => Ok(Value::Bool(!equal(value(0)?, value(1)?))),
        "lt" | "le" | "gt" | "ge" => compare(name, value(0)?, value(1)?),
        "print" => string(arguments.iter().map(print).collect::<Vec<_>>().join(" ")),
        "println" => string(format!("{}\n", arguments.iter().map(print).collect::<Vec<_>>().join(" "))),
        "printf" => string(format_go(&text(0)?, &arguments[1..])),
        "urlquery" => string(crate::cli::query::encode(&text(0)?)),
        "html" => {
            string(text(0)?.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;"))
        }
        "js" => string(text(0)?.replace('\\', "\\\\").replace('\'', "\\'").replace('"', "\\\"")),
        _ => bail!("the function `{name}` is not defined"),
    }
}

/// Go's truth: what is not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "<no value>",
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
    }
}

/// A value by Go's `%v`.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(" ")),
        Value::Object(items) => {
            let mut items: Vec<String> = items.iter().map(|(key, item)| format!("{key}:{}", print(item))).collect();
            items.sort();
            format!("map[{}]", items.join(" "))
        }
        other => other.to_string(),
    }
}

fn title(text: &str) -> String {
    let mut before = ' ';
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        if before.is_alphanumeric() || before == '_' {
            titled.push(c)
        } else {
            titled.extend(c.to_uppercase())
        }
        before = c;
    }
    titled
}

fn whole(value: &Value) -> anyhow::Result<usize> {
    match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
        Some(number) => Ok(number),
        None => bail!("{} is no whole number", print(value)),
    }
}

fn length(value: &Value) -> anyhow::Result<Value> {
    Ok(Value::from(match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Object(items) => items.len(),
        Value::Null => 0,
        other => bail!("{} has no length", print(other)),
    }))
}

fn index(arguments: &[Value]) -> anyhow::Result<Value> {
    let Some((first, keys)) = arguments.split_first() else { bail!("`index` lacks a value") };
    let mut value = first.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Object(items), Value::String(key)) => match items.get(key) {
                Some(found) => found.clone(),
                // Of a map of strings Go gives the empty string.
                None if items.values().all(Value::is_string) => Value::String(String::new()),
                None => Value::Null,
            },
            (Value::Array(items), key) => match items.get(whole(key)?) {
                Some(found) => found.clone(),
                None => bail!("the index {} is out of range", print(key)),
            },
            (Value::Null, Value::String(_)) => Value::String(String::new()),
            (other, key) => bail!("{} cannot be indexed by {}", print(other), print(key)),
        };
    }
    Ok(value)
}

fn slice(arguments: &[Value]) -> anyhow::Result<Value> {
    let Some((value, bounds)) = arguments.split_first() else { bail!("`slice` lacks a value") };
    let bounds = bounds.iter().map(whole).collect::<anyhow::Result<Vec<usize>>>()?;
    let from = bounds.first().copied().unwrap_or(0);
    let out_of_range = || anyhow::anyhow!("a bound of `slice` is out of range");
    match value {
        Value::String(text) => {
            let to = bounds.get(1).copied().unwrap_or(text.len());
            text.get(from..to).map(Value::from).ok_or_else(out_of_range)
        }
        Value::Array(items) => {
            let to = bounds.get(1).copied().unwrap_or(items.len());
            items.get(from..to).map(|items| Value::Array(items.to_vec())).ok_or_else(out_of_range)
        }
        other => bail!("{} cannot be sliced", print(other)),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn compare(name: &str, a: &Value, b: &Value) -> anyhow::Result<Value> {
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
    };
    let Some(order) = order else { bail!("{} and {} cannot be compared", print(a), print(b)) };
    Ok(Value::Bool(match name {
        "lt" => order == Ordering::Less,
        "le" => order != Ordering::Greater,
        "gt" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }))
}

/// Go's fmt.Sprintf with the verbs that formats use: v, s, d, q, t, x, f and %.
fn format_go(format: &str, arguments: &[Value]) -> String {
    let mut arguments = arguments.iter();
    let (mut out, mut chars) = (String::new(), format.chars().peekable());
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut flags, mut width, mut precision) = (String::new(), String::new(), None::<String>);
        while let Some(c) = chars.next_if(|c| matches!(c, '-' | '+' | '0' | ' ' | '#')) {
            flags.push(c);
        }
        while let Some(c) = chars.next_if(|c| c.is_ascii_digit() || *c == '.') {
            match (c, &mut precision) {
                ('.', precision) => *precision = Some(String::new()),
                (digit, Some(precision)) => precision.push(digit),
                (digit, None) => width.push(digit),
            }
        }
        let Some(verb) = chars.next() else { break };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(argument) = arguments.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let precision = precision.map(|digits| digits.parse::<usize>().unwrap_or(0).min(1024));
        let text = formatted(verb, argument, precision);
        let width = width.parse::<usize>().unwrap_or(0).min(1024);
        let filling = width.saturating_sub(text.chars().count());
        if flags.contains('-') {
            out.push_str(&text);
            out.push_str(&" ".repeat(filling));
        } else {
            out.push_str(&if flags.contains('0') { "0" } else { " " }.repeat(filling));
            out.push_str(&text);
        }
    }
    out
}

fn formatted(verb: char, value: &Value, precision: Option<usize>) -> String {
    match verb {
        'q' => format!("{:?}", print(value)),
        'x' => match value {
            Value::Number(number) => format!("{:x}", number.as_i64().unwrap_or_default()),
            other => print(other).bytes().map(|byte| format!("{byte:02x}")).collect(),
        },
        'f' | 'g' | 'e' => format!("{:.*}", precision.unwrap_or(6), value.as_f64().unwrap_or_default()),
        's' => match precision {
            Some(most) => print(value).chars().take(most).collect(),
            None => print(value),
        },
        _ => print(value),
    }
}
