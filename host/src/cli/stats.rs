//! `stats`: how much containers use, once or as it goes on.

mod sample;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use self::sample::Sample;
use super::client::{self, Client, Payload};
use super::door::Door;
use super::failure::report;
use super::query::{Query, encode};
use super::template::Format;

/// As often as Docker draws.
const PERIOD: Duration = Duration::from_millis(500);

/// `proa stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Those that do not run too
    #[arg(short, long)]
    all: bool,
    /// Print `json`, or a template such as {{.MemUsage}}
    #[arg(long)]
    format: Option<String>,
    /// Once, and no more
    #[arg(long)]
    no_stream: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: &str =
    "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
const HEADS: [(&str, &str); 7] = [
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

pub(crate) fn run(args: StatsArgs, door: &Door) -> anyhow::Result<u8> {
    let format = Format::parse(args.format.as_deref())?.or(COLUMNS)?;
    let mut client = Client::connect(door)?;
    if args.no_stream {
        let names = names(&mut client, &args)?;
        return once(&client, &names, &args, &format);
    }
    stream(client, &args, &format)
}

/// Those that were named, else those that run.
fn names(client: &mut Client, args: &StatsArgs) -> client::Result<Vec<String>> {
    if !args.containers.is_empty() {
        return Ok(args.containers.clone());
    }
    let rows: Vec<Value> = client.get(&Query::new("/containers/json").flag("all", args.all).into_path())?;
    Ok(rows.iter().filter_map(|row| row["Id"].as_str().map(str::to_owned)).collect())
}

/// One sample of each. The host takes a second for each, to tell the use of CPUs; they are asked for together.
fn once(client: &Client, names: &[String], args: &StatsArgs, format: &Format) -> anyhow::Result<u8> {
    let samples: Vec<client::Result<Sample>> = thread::scope(|scope| {
        let ask = |name: &String| {
            let path = Query::new(format!("/containers/{}/stats", encode(name))).with("stream", "0").into_path();
            let stats: Value = client.another()?.get(&path)?;
            Ok(Sample::new(name, &stats))
        };
        let asked: Vec<_> = names.iter().map(|name| scope.spawn(move || ask(name))).collect();
        asked.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let (mut rows, mut code) = (Vec::new(), 0);
    for sample in samples {
        match sample {
            Ok(sample) => rows.push(sample.object(args.no_trunc)),
            Err(error) => {
                report(&error.into());
                code = 1;
            }
        }
    }
    if code == 0 {
        format.print(&mut std::io::stdout().lock(), &HEADS, &rows)?;
    }
    Ok(code)
}

/// The newest sample of each container, in the order in which they were found.
type Newest = Arc<Mutex<BTreeMap<usize, Sample>>>;

/// Draws again and again. Each container has a thread that reads its stream; those that come later join where nobody
/// was named, and those that end leave.
fn stream(mut client: Client, args: &StatsArgs, format: &Format) -> anyhow::Result<u8> {
    let newest = Newest::default();
    let (ended, ends) = mpsc::channel::<(String, Option<client::Error>)>();
    let (mut followed, mut found) = (BTreeMap::new(), 0);
    let on_terminal = std::io::stdout().is_terminal();
    loop {
        for name in names(&mut client, args)? {
            if let Entry::Vacant(place) = followed.entry(name) {
                follow(client.another()?, place.key().clone(), found, Arc::clone(&newest), ended.clone());
                place.insert(found);
                found += 1;
            }
        }
        for (name, error) in ends.try_iter() {
            if let Some(error) = error.filter(|_| !args.containers.is_empty()) {
                return Err(error.into());
            }
            // One that was named stays away; one that was not is found again when it runs again.
            let place = if args.containers.is_empty() { followed.remove(&name) } else { followed.get(&name).copied() };
            if let Some(place) = place {
                locked(&newest).remove(&place);
            }
        }
        let rows: Vec<Value> = locked(&newest).values().map(|sample| sample.object(args.no_trunc)).collect();
        draw(&rows, format, on_terminal)?;
        thread::sleep(PERIOD);
    }
}

fn locked(newest: &Newest) -> std::sync::MutexGuard<'_, BTreeMap<usize, Sample>> {
    newest.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn draw(rows: &[Value], format: &Format, on_terminal: bool) -> anyhow::Result<()> {
    let mut text = Vec::new();
    if on_terminal {
        // Home, and what follows cleared: less flicker than clearing first.
        text.extend(b"\x1b[H");
    }
    format.print(&mut text, &HEADS, rows)?;
    if on_terminal {
        let lines = String::from_utf8_lossy(&text).replace('\n', "\x1b[K\n");
        text = lines.into_bytes();
        text.extend(b"\x1b[J");
    }
    let mut out = std::io::stdout().lock();
    out.write_all(&text)?;
    Ok(out.flush()?)
}

fn follow(
    mut client: Client,
    name: String,
    place: usize,
    newest: Newest,
    ended: mpsc::Sender<(String, Option<client::Error>)>,
) {
    thread::spawn(move || {
        let read = |client: &mut Client| -> anyhow::Result<()> {
            let path = Query::new(format!("/containers/{}/stats", encode(&name))).with("stream", "1").into_path();
            let answer = client.send("GET", &path, &[], Payload::None)?;
            for line in BufReader::new(answer.into_body()).lines() {
                let stats: Value = serde_json::from_str(&line?).context("understand the host's sample")?;
                locked(&newest).insert(place, Sample::new(&name, &stats));
            }
            Ok(())
        };
        let error = read(&mut client).err().and_then(|error| error.downcast().ok());
        // Nobody listens any more when the command ends.
        let _ = ended.send((name, error));
    });
}
