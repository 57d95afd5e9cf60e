//! `cp`: files between a container and here, and tar archives by standard input and output.
//!
//! Three steps: what was typed names two places, [`place`] says what goes where, [`inwards`] packs and [`outwards`]
//! unpacks. The host resolves every path inside the container; here a path of a container is only a word.

mod inwards;
mod outwards;
mod place;

use std::io::{self, IsTerminal, Read, Write};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use clap::Args;
use serde::Deserialize;

use super::client::{self, Client, Error, Payload};
use super::door::Door;
use super::human::precise_size;
use super::query::{Query, encode};

/// Links of links are followed so often at most, as the kernel does (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// `proa cp`.
#[derive(Debug, Args)]
pub(crate) struct CpArgs {
    /// Keep owners and groups
    #[arg(short, long)]
    archive: bool,
    /// Copy what a symbolic link points at
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, PATH, or - for a tar archive on standard input
    #[arg(value_name = "SOURCE")]
    source: String,
    /// PATH, CONTAINER:PATH, or - for a tar archive on standard output
    #[arg(value_name = "TARGET")]
    target: String,
}

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Here(&'a str),
    Inside { container: &'a str, path: &'a str },
}

/// What the host knows of a path inside (`X-Docker-Container-Path-Stat`).
#[derive(Debug, Deserialize)]
struct Stat {
    mode: u32,
    #[serde(default, rename = "linkTarget")]
    link_target: String,
}

impl Stat {
    // Bits of Go's os.FileMode, which Docker sends.
    fn is_folder(&self) -> bool {
        self.mode & (1 << 31) != 0
    }

    fn is_link(&self) -> bool {
        self.mode & (1 << 27) != 0
    }
}

pub(crate) fn run(args: CpArgs, door: &Door) -> anyhow::Result<u8> {
    match (split(&args.source), split(&args.target)) {
        (Place::Inside { .. }, Place::Inside { .. }) => bail!("copying between containers is not supported"),
        (Place::Here(_), Place::Here(_)) => bail!("must specify at least one container source"),
        (Place::Inside { container, path }, Place::Here(target)) => {
            let bytes = out_of(&mut Client::connect(door)?, container, path, target, &args)?;
            told(&args, target, bytes)
        }
        (Place::Here(source), Place::Inside { container, path }) => {
            let bytes = into(&mut Client::connect(door)?, source, container, path, &args)?;
            told(&args, &format!("{container}:{path}"), bytes)
        }
    }
}

/// `CONTAINER:PATH` unless it is clearly a path: absolute, or beginning with a dot.
fn split(word: &str) -> Place<'_> {
    match word.split_once(':') {
        Some((container, path)) if !word.starts_with(['/', '.']) && !container.is_empty() => {
            Place::Inside { container, path }
        }
        _ => Place::Here(word),
    }
}

fn told(args: &CpArgs, target: &str, bytes: Option<u64>) -> anyhow::Result<u8> {
    if let Some(bytes) = bytes.filter(|_| !args.quiet && io::stdout().is_terminal()) {
        writeln!(io::stderr(), "Successfully copied {} to {target}", precise_size(bytes))?;
    }
    Ok(0)
}

fn archive_path(container: &str, path: &str) -> Query {
    Query::new(format!("/containers/{}/archive", encode(container))).with("path", path)
}

/// What is at a path inside; `None` where nothing is.
fn stat(client: &mut Client, container: &str, path: &str) -> anyhow::Result<Option<Stat>> {
    let request = archive_path(container, path).into_path();
    let answer = match client.send("HEAD", &request, &[], Payload::None) {
        // An answer to HEAD has no body, so a missing container and a missing path look alike.
        Err(Error::Refused { status: 404, .. }) => return Ok(None),
        other => other?,
    };
    Ok(Some(read_stat(answer.path_stat())?))
}

fn read_stat(header: Option<&str>) -> anyhow::Result<Stat> {
    let header = header.context("the host does not say what is at the path")?;
    let text = STANDARD.decode(header).or_else(|_| URL_SAFE.decode(header));
    let text = text.context("understand what the host says of the path")?;
    serde_json::from_slice(&text).context("understand what the host says of the path")
}

/// Makes sure that the container is there, so that its absence is told as such.
fn known(client: &mut Client, container: &str) -> client::Result<()> {
    client.get::<serde_json::Value>(&format!("/containers/{}/json", encode(container))).map(drop)
}

/// The path that a link inside leads to, as text; the host resolves it again in the container's own root.
fn behind(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    let folder = path.trim_end_matches('/').rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{target}")
}

/// Copies out of a container; the bytes that came, where anybody is told of them.
fn out_of(
    client: &mut Client,
    container: &str,
    path: &str,
    target: &str,
    args: &CpArgs,
) -> anyhow::Result<Option<u64>> {
    let mut path = path.to_owned();
    if args.follow_link {
        for _ in 0..MOST_LINKS {
            match stat(client, container, &path)? {
                Some(found) if found.is_link() => path = behind(&path, &found.link_target),
                _ => break,
            }
        }
    }
    if target != "-" {
        place::check_parent(target)?;
    } else if io::stdout().is_terminal() {
        bail!("cowardly refusing to copy an archive to a terminal\nhint: redirect the output");
    }
    // The content alone is told from the whole by where it goes; asked for is always the folder itself.
    let request = archive_path(container, path.strip_suffix("/.").unwrap_or(&path)).into_path();
    let answer = client.send("GET", &request, &[], Payload::None)?;
    if target == "-" {
        io::copy(&mut answer.into_body(), &mut io::stdout().lock())?;
        return Ok(None);
    }
    let is_folder = read_stat(answer.path_stat())?.is_folder();
    let whither = place::here(&path, is_folder, target)?;
    let mut counted = Counted { from: answer.into_body(), bytes: 0 };
    let named = !place::last(&path).is_empty();
    outwards::unpack(&mut counted, &whither, named, args.archive)?;
    Ok(Some(counted.bytes))
}

/// Copies into a container.
fn into(client: &mut Client, source: &str, container: &str, path: &str, args: &CpArgs) -> anyhow::Result<Option<u64>> {
    let (mut path, mut found) = (path.to_owned(), stat(client, container, path)?);
    for _ in 0..MOST_LINKS {
        match &found {
            Some(link) if link.is_link() => path = behind(&path, &link.link_target),
            _ => break,
        }
        found = stat(client, container, &path)?;
    }
    if found.is_none() {
        known(client, container)?;
    }
    let is_folder = found.as_ref().map(Stat::is_folder);
    if source == "-" {
        if is_folder != Some(true) {
            bail!("destination \"{container}:{path}\" must be a directory");
        }
        put(client, container, &path, args, &mut io::stdin().lock())?;
        return Ok(None);
    }
    let local = inwards::Source::find(source, args.follow_link)?;
    let whither = place::inside(source, local.is_folder(), &path, is_folder)?;
    let (reader, packing) = local.pack(&whither.name)?;
    let mut counted = Counted { from: reader, bytes: 0 };
    let sent = put(client, container, &whither.folder, args, &mut counted);
    let bytes = counted.bytes;
    // The reader goes first, so that a packer whose archive nobody takes comes to its end.
    drop(counted);
    let packed = packing.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the packing thread panicked")));
    sent?;
    packed?;
    Ok(Some(bytes))
}

fn put(client: &mut Client, container: &str, folder: &str, args: &CpArgs, bytes: &mut dyn Read) -> anyhow::Result<()> {
    let request = archive_path(container, folder)
        .with("noOverwriteDirNonDir", "true")
        .maybe("copyUIDGID", args.archive.then_some("true"))
        .into_path();
    client.send("PUT", &request, &[], Payload::Stream { media_type: "application/x-tar", bytes })?.finish()?;
    Ok(())
}

/// Counts what is read.
struct Counted<R> {
    from: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_a_container_unless_it_is_clearly_a_path() {
        assert_eq!(split("web:/etc/x:y"), Place::Inside { container: "web", path: "/etc/x:y" });
        for path in ["/a:b", "./a:b", "../a:b", "a", "-", ":x"] {
            assert_eq!(split(path), Place::Here(path));
        }
    }

    #[test]
    fn a_link_leads_from_where_it_lies() {
        assert_eq!(behind("/a/b", "c"), "/a/c");
        assert_eq!(behind("/a/b/", "/c"), "/c");
        assert_eq!(behind("a", "../c"), "/../c");
    }
}
