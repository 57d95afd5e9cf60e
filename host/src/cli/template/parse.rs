//! Tokens made into a tree: text, values, and the blocks `if`, `range` and `with`.

use anyhow::bail;
use serde_json::Value;

use super::lex::{Piece, Token, pieces};

/// Blocks and brackets deeper than this are nobody's honest format.
const DEEPEST: usize = 64;

/// A template that has been read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    pub(super) nodes: Vec<Node>,
    fields: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// A value that is printed, or only given a name.
    Value(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        each: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// `$a, $b := command | command`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    pub(super) names: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// A function or a value, and what it is called with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    pub(super) head: Operand,
    pub(super) arguments: Vec<Operand>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// `.A.B` from where the template stands.
    Field(Vec<String>),
    /// `$a.B`; the empty name is the whole object.
    Variable(String, Vec<String>),
    /// `(pipeline).A`
    Nested(Pipeline, Vec<String>),
    Literal(Value),
    Function(String),
}

impl Template {
    pub(super) fn parse(template: &str) -> anyhow::Result<Template> {
        let mut reader = Reader { pieces: pieces(template)?.into_iter(), fields: Vec::new(), depth: 0 };
        let (nodes, end) = reader.nodes()?;
        if let Some(word) = end {
            bail!("`{template}` has an `{}` without its beginning", word.0);
        }
        Ok(Template { nodes, fields: reader.fields })
    }

    /// The first name of every field that is mentioned.
    pub(super) fn fields(&self) -> &[String] {
        &self.fields
    }
}

struct Reader {
    pieces: std::vec::IntoIter<Piece>,
    fields: Vec<String>,
    depth: usize,
}

/// `end` or `else`, and what follows an `else`.
type Ending = (String, Vec<Token>);

impl Reader {
    /// The nodes up to an `end` or `else`, which is returned, or to the template's end.
    fn nodes(&mut self) -> anyhow::Result<(Vec<Node>, Option<Ending>)> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Action(tokens) => match tokens.first() {
                    None => bail!("an action `{{{{}}}}` is empty"),
                    Some(Token::Word(word)) => match word.as_str() {
                        "end" | "else" => return Ok((nodes, Some((word.clone(), tokens[1..].to_vec())))),
                        "if" | "with" | "range" => nodes.push(self.block(&word.clone(), &tokens[1..])?),
                        "define" | "template" | "block" | "break" | "continue" => {
                            bail!("`{word}` is not supported in a format")
                        }
                        _ => nodes.push(Node::Value(self.pipeline(&tokens)?)),
                    },
                    Some(_) => nodes.push(Node::Value(self.pipeline(&tokens)?)),
                },
            }
        }
        Ok((nodes, None))
    }

    fn block(&mut self, kind: &str, head: &[Token]) -> anyhow::Result<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            bail!("the format is nested too deeply");
        }
        let head = self.pipeline(head)?;
        let (then, ending) = self.nodes()?;
        let otherwise = match ending {
            Some((word, rest)) if word == "else" && !rest.is_empty() => match rest.split_first() {
                // `else if` shares the end of its `if`.
                Some((Token::Word(word), rest)) if word == "if" || word == "with" => {
                    vec![self.block(&word.clone(), rest)?]
                }
                _ => bail!("`else` is followed by what is no `if`"),
            },
            Some((word, _)) if word == "else" => match self.nodes()? {
                (nodes, Some((word, _))) if word == "end" => nodes,
                _ => bail!("a `{kind}` has no `end`"),
            },
            Some(_) => Vec::new(),
            None => bail!("a `{kind}` has no `end`"),
        };
        self.depth -= 1;
        Ok(match kind {
            "if" => Node::If { condition: head, then, otherwise },
            "with" => Node::With { value: head, then, otherwise },
            _ => Node::Range { over: head, each: then, otherwise },
        })
    }

    fn pipeline(&mut self, tokens: &[Token]) -> anyhow::Result<Pipeline> {
        let mut tokens = tokens;
        let mut names = Vec::new();
        let declared = tokens.iter().position(|token| *token == Token::Assign);
        if let Some(at) = declared {
            for token in &tokens[..at] {
                match token {
                    Token::Variable(name) => names.push(name.clone()),
                    Token::Comma => {}
                    _ => bail!("only a variable such as `$x` can be given a value"),
                }
            }
            tokens = &tokens[at + 1..];
        }
        let mut cursor = Cursor { tokens, at: 0 };
        let pipeline = self.commands(&mut cursor, names)?;
        match cursor.peek() {
            None => Ok(pipeline),
            Some(_) => bail!("a bracket is closed that was not opened"),
        }
    }

    fn commands(&mut self, cursor: &mut Cursor<'_>, names: Vec<String>) -> anyhow::Result<Pipeline> {
        let mut commands = vec![self.command(cursor)?];
        while cursor.take(&Token::Pipe) {
            commands.push(self.command(cursor)?);
        }
        Ok(Pipeline { names, commands })
    }

    fn command(&mut self, cursor: &mut Cursor<'_>) -> anyhow::Result<Command> {
        let Some(head) = self.operand(cursor)? else { bail!("a value is missing in the format") };
        let mut arguments = Vec::new();
        while let Some(operand) = self.operand(cursor)? {
            arguments.push(operand);
        }
        Ok(Command { head, arguments })
    }

    fn operand(&mut self, cursor: &mut Cursor<'_>) -> anyhow::Result<Option<Operand>> {
        let Some(token) = cursor.peek() else { return Ok(None) };
        let operand = match token {
            Token::Pipe | Token::Close => return Ok(None),
            Token::Field(names, _) => {
                self.fields.extend(names.first().cloned());
                Operand::Field(names.clone())
            }
            Token::Text(text) => Operand::Literal(Value::String(text.clone())),
            Token::Number(number) => Operand::Literal(super::functions::number(*number)),
            Token::Word(word) => match word.as_str() {
                "true" => Operand::Literal(Value::Bool(true)),
                "false" => Operand::Literal(Value::Bool(false)),
                "nil" => Operand::Literal(Value::Null),
                word if super::functions::is_known(word) => Operand::Function(word.to_owned()),
                word => bail!("the function `{word}` is not defined"),
            },
            Token::Variable(name) => {
                cursor.at += 1;
                return Ok(Some(Operand::Variable(name.clone(), self.chain(cursor))));
            }
            Token::Open => {
                cursor.at += 1;
                self.depth += 1;
                if self.depth > DEEPEST {
                    bail!("the format is nested too deeply");
                }
                let pipeline = self.commands(cursor, Vec::new())?;
                self.depth -= 1;
                if !cursor.take(&Token::Close) {
                    bail!("a bracket is not closed");
                }
                return Ok(Some(Operand::Nested(pipeline, self.chain(cursor))));
            }
            Token::Assign | Token::Comma => bail!("the format has a stray `:=` or `,`"),
        };
        cursor.at += 1;
        Ok(Some(operand))
    }

    /// The fields that follow a bracket or a variable without a blank.
    fn chain(&mut self, cursor: &mut Cursor<'_>) -> Vec<String> {
        match cursor.peek() {
            Some(Token::Field(names, true)) => {
                let names = names.clone();
                cursor.at += 1;
                self.fields.extend(names.first().cloned());
                names
            }
            _ => Vec::new(),
        }
    }
}

struct Cursor<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }
}
