//! The columns `ps` knows, by its names.

use std::time::Duration;

use crate::processes::{Node, Process};
use crate::timestamp::rfc3339;

/// One column: its title, and what stands in it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) title: String,
    pub(super) show: fn(&Process, &Node) -> String,
}

/// The column called `name`.
pub(super) fn named(name: &str) -> Option<Column> {
    let (title, show): (&str, fn(&Process, &Node) -> String) = match name {
        "pid" | "tgid" => ("PID", |process, _| process.pid.to_string()),
        "ppid" => ("PPID", |process, _| process.parent.to_string()),
        "pgid" | "pgrp" => ("PGID", |process, _| process.group.to_string()),
        "sid" | "sess" | "session" => ("SID", |process, _| process.session.to_string()),
        "uid" | "euid" => ("UID", |process, _| process.uid.to_string()),
        "gid" | "egid" => ("GID", |process, _| process.gid.to_string()),
        "user" | "euser" | "uname" => ("USER", user),
        "comm" | "ucmd" | "ucomm" => ("COMMAND", |process, _| process.name.clone()),
        "cmd" => ("CMD", |process, _| process.command.clone()),
        "args" | "command" => ("COMMAND", |process, _| process.command.clone()),
        "c" => ("C", |process, node| format!("{:.0}", load(process, node).floor())),
        "%cpu" | "pcpu" => ("%CPU", |process, node| format!("{:.1}", load(process, node))),
        "%mem" | "pmem" => ("%MEM", |process, node| format!("{:.1}", share(process, node))),
        "rss" | "rssize" | "rsz" => ("RSS", |process, _| (process.memory >> 10).to_string()),
        "vsz" | "vsize" => ("VSZ", |process, _| (process.virtual_memory >> 10).to_string()),
        "sz" => ("SZ", |process, _| (process.virtual_memory / rustix::param::page_size() as u64).to_string()),
        "tty" | "tt" | "tname" => ("TTY", |process, _| terminal(process.terminal)),
        "s" | "state" => ("S", |process, _| process.state.to_string()),
        "stat" => ("STAT", |process, _| stat(process)),
        "pri" => ("PRI", |process, _| (39 - process.priority).to_string()),
        "ni" | "nice" => ("NI", |process, _| process.nice.to_string()),
        // Where it runs changes while one looks.
        "psr" => ("PSR", |_, _| "-".to_owned()),
        "nlwp" | "thcount" => ("NLWP", |process, _| process.threads.to_string()),
        "time" | "cputime" => ("TIME", |process, _| clock(process.used)),
        "bsdtime" => ("TIME", |process, _| minutes(process.used)),
        "etime" => ("ELAPSED", |process, node| elapsed(age(process, node))),
        "etimes" => ("ELAPSED", |process, node| age(process, node).as_secs().to_string()),
        "stime" | "start_time" => ("STIME", began),
        "start" | "bsdstart" => ("START", began),
        _ => return None,
    };
    Some(Column { title: title.to_owned(), show })
}

/// The node's name for it, or its number where there is none or it would not fit.
fn user(process: &Process, node: &Node) -> String {
    match node.users.get(&process.uid) {
        Some(name) if name.len() <= 8 => name.clone(),
        _ => process.uid.to_string(),
    }
}

fn age(process: &Process, node: &Node) -> Duration {
    node.up.saturating_sub(process.began)
}

/// Percent of one processor since it began.
fn load(process: &Process, node: &Node) -> f64 {
    let age = age(process, node).as_secs_f64().max(1.0);
    (process.used.as_secs_f64() * 100.0 / age).min(9999.0)
}

/// Percent of the node's memory.
fn share(process: &Process, node: &Node) -> f64 {
    process.memory as f64 * 100.0 / (node.memory.max(1) as f64)
}

/// `pts/3`, `ttyS0`, `?` (Documentation/admin-guide/devices.txt).
fn terminal(device: u32) -> String {
    let (major, minor) = (device >> 8 & 0xfff, (device & 0xff) | (device >> 12 & 0xf_ff00));
    match (major, minor) {
        (0, 0) => "?".to_owned(),
        (4, minor @ 0..64) => format!("tty{minor}"),
        (4, minor) => format!("ttyS{}", minor - 64),
        (5, 1) => "console".to_owned(),
        (136..=143, minor) => format!("pts/{}", minor + (major - 136) * 256),
        (major, minor) => format!("{major}:{minor}"),
    }
}

/// The state's letter with those for niceness, leadership, threads and the foreground.
fn stat(process: &Process) -> String {
    let mut text = process.state.to_string();
    let signs = [
        (process.nice < 0, '<'),
        (process.nice > 0, 'N'),
        (process.session == process.pid, 's'),
        (process.threads > 1, 'l'),
        (process.foreground == i64::from(process.group), '+'),
    ];
    text.extend(signs.into_iter().filter(|(holds, _)| *holds).map(|(_, sign)| sign));
    text
}

/// `00:00:07`, `1-02:03:04`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes, seconds) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let days = if days > 0 { format!("{days}-") } else { String::new() };
    format!("{days}{hours:02}:{minutes:02}:{seconds:02}")
}

/// `0:07`.
fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// `00:07`, `01:02:03`, `1-02:03:04`.
fn elapsed(time: Duration) -> String {
    if time.as_secs() >= 3600 { clock(time) } else { format!("{:02}:{:02}", time.as_secs() / 60, time.as_secs() % 60) }
}

/// The time of day (UTC, as every time a container's users see) within a day, else the date.
fn began(process: &Process, node: &Node) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = node.booted + process.began;
    let text = rfc3339(at);
    if node.now.duration_since(at).unwrap_or_default() < Duration::from_secs(86_400) {
        return text.get(11..16).unwrap_or("?").to_owned();
    }
    let month = text.get(5..7).and_then(|month| MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?));
    format!("{}{}", month.copied().unwrap_or("?"), text.get(8..10).unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_terminals_are_written_as_ps_writes_them() {
        assert_eq!(clock(Duration::from_secs(93_784)), "1-02:03:04");
        assert_eq!(
            (clock(Duration::from_secs(7)), minutes(Duration::from_secs(67))),
            ("00:00:07".into(), "1:07".into())
        );
        assert_eq!(
            (elapsed(Duration::from_secs(67)), elapsed(Duration::from_secs(3601))),
            ("01:07".into(), "01:00:01".into())
        );
        for (device, name) in [(0, "?"), (0x8803, "pts/3"), (0x0440, "ttyS0"), (0x0501, "console")] {
            assert_eq!(terminal(device), name);
        }
    }
}
