//! The JSON lines that pull, push and load answer with: as bars on a terminal, as plain lines in a pipe, or not at all.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};

use anyhow::{Context, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;

/// One line of the answer (Docker Engine API, `JSONMessage`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Message {
    pub(crate) status: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) stream: Option<String>,
    #[serde(rename = "progressDetail")]
    detail: Option<Detail>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: Option<u64>,
    total: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    message: String,
}

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// pull and push, whose output it is.
    Stdout,
    /// run and create, whose output is the container's.
    Stderr,
    Nothing,
}

/// Reads the answer to its end, a line at a time.
///
/// # Errors
/// What the host reports within the stream, in its words.
pub(crate) fn follow(body: impl Read, each: &mut dyn FnMut(&Message) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for line in BufReader::new(body).lines() {
        let line = line.context("read the host's progress")?;
        if line.trim().is_empty() {
            continue;
        }
        let message: Message = serde_json::from_str(&line).context("understand the host's progress")?;
        if let Some(error) = &message.error_detail {
            bail!("{}", error.message);
        }
        if let Some(error) = &message.error {
            bail!("{error}");
        }
        each(&message)?;
    }
    Ok(())
}

/// Reads the answer to its end and shows it.
pub(crate) fn show(body: impl Read, show: Show) -> anyhow::Result<()> {
    let on_terminal = match show {
        Show::Stdout => std::io::stdout().is_terminal(),
        Show::Stderr => std::io::stderr().is_terminal(),
        Show::Nothing => return follow(body, &mut |_| Ok(())),
    };
    if on_terminal {
        let mut bars = Bars::new(show);
        follow(body, &mut |message| bars.take(message))
    } else {
        follow(body, &mut |message| match plain(message) {
            Some(line) => print(show, &line),
            None => Ok(()),
        })
    }
}

fn print(show: Show, line: &str) -> anyhow::Result<()> {
    match show {
        Show::Stdout => writeln!(std::io::stdout(), "{line}")?,
        _ => writeln!(std::io::stderr(), "{line}")?,
    }
    Ok(())
}

/// A message's line in a pipe; how far a transfer has come is left out.
fn plain(message: &Message) -> Option<String> {
    if message.detail.as_ref().is_some_and(|detail| detail.current.is_some()) {
        return None;
    }
    match (&message.status, &message.id, &message.stream) {
        (Some(status), Some(id), _) => Some(format!("{id}: {status}")),
        (Some(status), None, _) => Some(status.clone()),
        (None, _, Some(stream)) => Some(stream.trim_end().to_owned()),
        (None, ..) => None,
    }
}

/// One line for each id, a bar where the host says how much there is.
struct Bars {
    all: MultiProgress,
    by_id: HashMap<String, ProgressBar>,
}

impl Bars {
    fn new(show: Show) -> Bars {
        let target = if show == Show::Stdout { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::stderr() };
        Bars { all: MultiProgress::with_draw_target(target), by_id: HashMap::new() }
    }

    fn take(&mut self, message: &Message) -> anyhow::Result<()> {
        let Some(id) = &message.id else {
            if let Some(line) = plain(message) {
                self.all.println(line)?;
            }
            return Ok(());
        };
        let bar = self.by_id.entry(id.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(0));
            bar.set_style(line_style());
            bar.set_prefix(id.clone());
            bar
        });
        bar.set_message(message.status.clone().unwrap_or_default());
        match &message.detail {
            Some(Detail { current: Some(current), total: Some(total) }) if *total > 0 => {
                bar.set_style(bar_style());
                bar.set_length(*total);
                bar.set_position(*current);
            }
            _ => {
                bar.set_style(line_style());
                bar.tick();
            }
        }
        Ok(())
    }
}

impl Drop for Bars {
    /// The last state of every line stays on the screen.
    fn drop(&mut self) {
        for bar in self.by_id.values() {
            bar.abandon();
        }
    }
}

fn line_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg} [{bar:30}] {bytes}/{total_bytes}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_within_the_stream_ends_it_in_the_hosts_words() {
        let wire = "{\"status\":\"Pulling\",\"id\":\"a\"}\n{\"errorDetail\":{\"message\":\"no room\"},\"error\":\"no room\"}\n";
        let mut seen = Vec::new();
        let error = follow(wire.as_bytes(), &mut |message| {
            seen.extend(plain(message));
            Ok(())
        })
        .expect_err("the host's error");
        assert_eq!((seen, error.to_string()), (vec!["a: Pulling".to_owned()], "no room".to_owned()));
    }

    #[test]
    fn a_pipe_gets_no_line_for_each_piece() {
        let line = |json: &str| plain(&serde_json::from_str(json).expect("a message"));
        assert_eq!(line(r#"{"status":"Downloading","id":"a","progressDetail":{"current":1,"total":2}}"#), None);
        assert_eq!(
            line(r#"{"status":"Pull complete","id":"a","progressDetail":{}}"#).as_deref(),
            Some("a: Pull complete")
        );
        assert_eq!(line(r#"{"status":"Digest: sha256:0"}"#).as_deref(), Some("Digest: sha256:0"));
    }
}
