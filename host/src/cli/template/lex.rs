//! A template's text cut into tokens (text/template, "Text and spaces" and "Actions").

use anyhow::bail;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// What stands between `{{` and `}}`.
    Action(Vec<Token>),
}

/// One word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.A.B`, or `.` alone as the empty list. `true` when it follows a closing bracket or a variable directly.
    Field(Vec<String>, bool),
    /// `$` or `$name`.
    Variable(String),
    Word(String),
    Text(String),
    Number(f64),
    Pipe,
    Open,
    Close,
    Assign,
    Comma,
}

/// Cuts a template; `{{- ` and ` -}}` take the blanks beside them away, comments vanish.
pub(super) fn pieces(template: &str) -> anyhow::Result<Vec<Piece>> {
    let (mut pieces, mut rest, mut trim) = (Vec::new(), template, false);
    loop {
        let (text, action) = match rest.split_once("{{") {
            Some((text, action)) => (text, Some(action)),
            None => (rest, None),
        };
        let mut text = if trim { text.trim_start() } else { text };
        let after = action.map(|action| action.strip_prefix("- ").unwrap_or(action));
        if after != action {
            text = text.trim_end();
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(unescape(text)));
        }
        let Some(after) = after else { return Ok(pieces) };
        let Some(end) = action_end(after) else { bail!("`{template}` has a `{{{{` without its `}}}}`") };
        let inside = &after[..end];
        rest = &after[end + 2..];
        trim = inside.ends_with(" -");
        let inside = if trim { &inside[..inside.len() - 2] } else { inside };
        if !inside.trim_start().starts_with("/*") {
            pieces.push(Piece::Action(tokens(inside)?));
        }
    }
}

/// Where the action's `}}` is, outside of quotes.
fn action_end(action: &str) -> Option<usize> {
    let bytes = action.as_bytes();
    let (mut quote, mut at) = (None, 0);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, byte @ (b'"' | b'`' | b'\'')) => quote = Some(byte),
            (Some(b'"' | b'\''), b'\\') => at += 1,
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The escapes that a shell leaves in a format.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

fn tokens(action: &str) -> anyhow::Result<Vec<Token>> {
    let (mut tokens, mut rest) = (Vec::new(), action);
    let mut touches = false;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            c if c.is_whitespace() => {
                rest = rest.trim_start();
                touches = false;
                continue;
            }
            '|' => (Token::Pipe, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            ':' if rest.starts_with(":=") => (Token::Assign, 2),
            '=' => (Token::Assign, 1),
            '"' | '`' | '\'' => quoted(rest)?,
            '.' => {
                let length = rest.find(|c: char| !is_name(c) && c != '.').unwrap_or(rest.len());
                let names = rest[..length].split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
                (Token::Field(names, touches), length)
            }
            '$' => {
                let length = 1 + rest[1..].find(|c: char| !is_name(c)).unwrap_or(rest.len() - 1);
                (Token::Variable(rest[1..length].to_owned()), length)
            }
            c if c.is_ascii_digit() || (c == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) => {
                let length = 1 + rest[1..].find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len() - 1);
                let number = rest[..length].parse();
                (Token::Number(number.map_err(|_| anyhow::anyhow!("`{}` is no number", &rest[..length]))?), length)
            }
            c if is_name(c) => {
                let length = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
                (Token::Word(rest[..length].to_owned()), length)
            }
            c => bail!("`{c}` means nothing in `{{{{{action}}}}}`"),
        };
        touches = matches!(token, Token::Close | Token::Variable(_));
        tokens.push(token);
        rest = &rest[length..];
    }
    Ok(tokens)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A string in double, back or single quotes, and its length in the text.
fn quoted(text: &str) -> anyhow::Result<(Token, usize)> {
    let mut chars = text.char_indices();
    let quote = chars.next().map_or('"', |(_, quote)| quote);
    let mut string = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((Token::Text(string), at + c.len_utf8())),
            '\\' if quote != '`' => match chars.next() {
                Some((_, 'n')) => string.push('\n'),
                Some((_, 't')) => string.push('\t'),
                Some((_, 'r')) => string.push('\r'),
                Some((_, c @ ('\\' | '"' | '\''))) => string.push(c),
                _ => bail!("`{text}` has an unknown escape"),
            },
            c => string.push(c),
        }
    }
    bail!("`{text}` has no closing quote")
}
