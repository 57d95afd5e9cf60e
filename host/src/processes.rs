//! The processes of a container as `ps` would show them, read from /proc: nothing is executed, neither on the node nor in
//! the container. Must not know the API.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

mod columns;
mod request;

pub use request::Request;

/// Processes that are shown; a container may have as many as it likes.
const MOST: usize = 4096;

/// Bytes of one command line that are shown.
const LINE: u64 = 32 << 10;

/// Bytes of the node's list of users that are read.
const USERS: u64 = 1 << 20;

/// One process.
#[derive(Debug, Clone, Default)]
pub struct Process {
    pub pid: u32,
    parent: u32,
    group: u32,
    session: u32,
    uid: u32,
    gid: u32,
    state: char,
    /// The device's number, 0 without a terminal.
    terminal: u32,
    /// The foreground group of its terminal.
    foreground: i64,
    /// Processor time.
    used: Duration,
    priority: i64,
    nice: i64,
    threads: u64,
    /// Since the node came up.
    began: Duration,
    /// Bytes.
    virtual_memory: u64,
    memory: u64,
    name: String,
    /// Its arguments, or its name in brackets where it has none.
    command: String,
}

/// What all rows refer to.
#[derive(Debug)]
struct Node {
    /// Since it came up.
    up: Duration,
    booted: SystemTime,
    now: SystemTime,
    /// Bytes.
    memory: u64,
    users: HashMap<u32, String>,
}

/// A table: titles, and a row for each process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// The process `pid`; `None` when there is none any more.
pub fn read(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut process = parse(&stat)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let id = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    // The effective ids stand second.
    (process.uid, process.gid) = (id("Uid:")?, id("Gid:")?);
    process.command = command(pid).unwrap_or_else(|| format!("[{}]", process.name));
    Some(process)
}

impl Process {
    /// A Wasm guest in its worker's process: its own command, time and memory.
    pub fn guest(mut self, command: String, used: Duration, memory: u64) -> Process {
        self.name = command.split(' ').next().unwrap_or_default().to_owned();
        (self.command, self.used, self.memory) = (command, used, memory);
        self
    }
}

/// All of `pids` that are there, in their order.
pub fn read_all(pids: &[u32]) -> Vec<Process> {
    pids.iter().take(MOST).filter_map(|pid| read(*pid)).collect()
}

/// The table of `processes` that `request` asks for.
pub fn table(processes: &[Process], request: &Request) -> Result<Table> {
    let node = Node::read()?;
    let titles = request.columns().iter().map(|column| column.title.clone()).collect();
    let row = |process: &Process| request.columns().iter().map(|column| (column.show)(process, &node)).collect();
    Ok(Table { titles, rows: processes.iter().map(row).collect() })
}

impl Node {
    fn read() -> Result<Node> {
        let stat = fs::read_to_string("/proc/stat").map_err(Error::file("read", "/proc/stat"))?;
        let booted = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or(0);
        let booted = UNIX_EPOCH + Duration::from_secs(booted);
        let info = rustix::system::sysinfo();
        let memory = u64::from(info.mem_unit).saturating_mul(info.totalram);
        let up = Duration::from_secs(info.uptime.try_into().unwrap_or(0));
        Ok(Node { up, booted, now: SystemTime::now(), memory, users: users() })
    }
}

/// The node's users, as `ps` on the node would call them.
fn users() -> HashMap<u32, String> {
    let mut text = String::new();
    // A node without the file has numbers only.
    let _ = fs::File::open("/etc/passwd").and_then(|file| file.take(USERS).read_to_string(&mut text));
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    let mut users = HashMap::new();
    for (uid, name) in text.lines().filter_map(user) {
        users.entry(uid).or_insert(name);
    }
    users
}

/// proc_pid_stat(5): the name stands in brackets and may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Field 3 of the manual is the first here.
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<i64>().ok());
    let positive = |field: usize| number(field).and_then(|number| u64::try_from(number).ok());
    let small = |field: usize| number(field).and_then(|number| u32::try_from(number).ok());
    Some(Process {
        pid: pid.parse().ok()?,
        state: fields.first()?.chars().next()?,
        parent: small(4)?,
        group: small(5)?,
        session: small(6)?,
        terminal: small(7).unwrap_or(0),
        foreground: number(8)?,
        used: ticks(positive(14)?.saturating_add(positive(15)?)),
        priority: number(18)?,
        nice: number(19)?,
        threads: positive(20)?,
        began: ticks(positive(22)?),
        // Above the largest signed number are only the tops of address spaces.
        virtual_memory: positive(23).unwrap_or(0),
        memory: positive(24)?.saturating_mul(rustix::param::page_size() as u64),
        name: name.to_owned(),
        ..Process::default()
    })
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1))
}

/// The arguments of the process `pid`.
pub fn arguments(pid: u32) -> Option<Vec<String>> {
    let bytes = command_line(pid)?;
    Some(bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// Its arguments with spaces between; control characters, which would draw on the reader's terminal, become `?`.
fn command(pid: u32) -> Option<String> {
    let text = String::from_utf8_lossy(&command_line(pid)?).replace('\0', " ");
    Some(text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect())
}

/// `None` for what has no arguments, such as a thread of the kernel or what has ended.
fn command_line(pid: u32) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/cmdline")).ok()?.take(LINE).read_to_end(&mut bytes).ok()?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_brackets_does_not_move_the_fields() {
        let stat =
            "42 (a) S 1 (b) S 7 42 41 34816 42 4194304 1 2 3 4 150 50 0 0 20 0 3 0 600 4096 2 18446744073709551615";
        let process = parse(stat).unwrap();
        assert_eq!((process.pid, process.name.as_str(), process.state), (42, "a) S 1 (b", 'S'));
        assert_eq!((process.parent, process.group, process.session, process.threads), (7, 42, 41, 3));
        assert_eq!(process.used, ticks(200));
        assert_eq!(process.memory, 2 * rustix::param::page_size() as u64);
    }

    #[test]
    fn this_process_is_shown_as_ps_shows_it() {
        let own = read(std::process::id()).unwrap();
        let table = table(std::slice::from_ref(&own), &Request::parse("").unwrap()).unwrap();
        assert_eq!(table.titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!(table.rows[0][1], std::process::id().to_string());
        assert!(!table.rows[0][7].is_empty());
        assert!(read(0).is_none());
    }
}
