//! Who a container is and what it may: capabilities, filters, users, namespaces of others, kernel settings.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::Case;
use crate::engine::Engine;

pub(crate) const CASES: [Case<Engine>; 6] = [
    ("capabilities: dropped, added, none for others than root", capabilities),
    ("the filter of system calls, a profile of one's own, and none", filter),
    ("users and their groups", users),
    ("namespaces of the machine's and of another container", namespaces),
    ("kernel settings of its own", settings),
    ("nothing of the engine's is open in it", descriptors),
];

fn capabilities(engine: &Engine) -> Result<()> {
    let sets = ["sh", "-c", "grep -E 'Cap(Inh|Eff|Bnd)' /proc/self/status"];
    let shown = engine.run(&["--cap-drop", "all"], &sets)?.text()?;
    ensure!(shown.matches("0000000000000000").count() == 3, "none: {shown}");
    let shown = engine.run(&["--cap-drop", "all", "--cap-add", "net_raw"], &sets)?.text()?;
    ensure!(shown.matches("0000000000002000").count() == 2, "one: {shown}");
    let inheritable = shown.lines().find(|line| line.starts_with("CapInh"));
    ensure!(inheritable.is_some_and(|line| line.ends_with("0000000000000000")), "CVE-2022-29162: {shown}");
    let shown = engine.run(&["--user", "1000"], &sets)?.text()?;
    let effective = shown.lines().find(|line| line.starts_with("CapEff")).context("CapEff is there")?;
    ensure!(effective.ends_with("0000000000000000"), "another user than root: {shown}");
    Ok(())
}

fn filter(engine: &Engine) -> Result<()> {
    let state = ["sh", "-c", "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status"];
    let shown = engine.run(&["--security-opt", "no-new-privileges"], &state)?.text()?;
    ensure!(shown == "NoNewPrivs:\t1\nSeccomp:\t2", "{shown}");
    let shown = engine.run(&["--security-opt", "seccomp=unconfined"], &state)?.text()?;
    ensure!(shown == "NoNewPrivs:\t0\nSeccomp:\t0", "{shown}");
    let profile = engine.path().join("profile.json");
    let rules = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["chmod", "fchmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
    });
    fs::write(&profile, serde_json::to_vec(&rules)?)?;
    let option = format!("seccomp={}", profile.display());
    let output = engine.run(&["--security-opt", &option], &["chmod", "700", "/tmp"])?;
    ensure!(output.code == Some(1) && output.err.contains("No space left"), "{output}");
    Ok(())
}

fn users(engine: &Engine) -> Result<()> {
    let options = ["--user", "sailor", "--group-add", "2000", "--group-add", "2001"];
    let shown = engine.run(&options, &["sh", "-c", "id -u; id -g; id -G; pwd; touch /etc/made"])?;
    let groups: Vec<&str> = shown.out.lines().nth(2).unwrap_or_default().split(' ').collect();
    ensure!(shown.out.starts_with("1000\n1000\n") && shown.err.contains("Permission denied"), "{shown}");
    ensure!(groups.contains(&"2000") && groups.contains(&"2001") && !groups.contains(&"0"), "{shown}");
    Ok(())
}

fn namespaces(engine: &Engine) -> Result<()> {
    let options = ["--pid", "host", "--uts", "host", "--ipc", "host"];
    let script = "for kind in pid uts ipc net mnt; do readlink /proc/self/ns/$kind; done";
    let shown = engine.run(&options, &["sh", "-c", script])?.text()?;
    for (kind, shown) in ["pid", "uts", "ipc", "net", "mnt"].into_iter().zip(shown.lines()) {
        let own = fs::read_link(format!("/proc/self/ns/{kind}"))?.to_string_lossy().into_owned();
        ensure!((own == shown) == ["pid", "uts", "ipc"].contains(&kind), "{kind}: {shown} inside, {own} outside");
    }
    let first = engine.detached(&["--ipc", "shareable"], &["sleep", "1000"])?;
    let other = format!("container:{}", first.id);
    let links = "readlink /proc/1/ns/ipc; readlink /proc/1/ns/net";
    let own = first.exec(&[], &["sh", "-c", links])?.text()?;
    let script = "cat /proc/1/comm; readlink /proc/self/ns/ipc; readlink /proc/self/ns/net";
    let shown =
        engine.ask(&second(engine, &["--pid", &other, "--ipc", &other, "--network", &other], script))?.text()?;
    ensure!(shown == format!("sleep\n{own}"), "{shown}\nthe first: {own}");
    Ok(())
}

/// The words of a run that chooses its network itself, which all others are given.
fn second<'w>(engine: &Engine, options: &[&'w str], script: &'w str) -> Vec<&'w str> {
    let mut words = engine.words(&["run", "--rm"], options, &["sh", "-c", script]);
    let none = words.windows(2).position(|pair| pair == ["--network", "none"]);
    none.map(|at| words.drain(at..at + 2));
    words
}

fn settings(engine: &Engine) -> Result<()> {
    let options = ["--sysctl", "net.ipv4.ip_unprivileged_port_start=7", "--sysctl", "kernel.msgmax=4242"];
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax";
    let shown = engine.run(&options, &["sh", "-c", script])?.text()?;
    ensure!(shown == "7\n4242", "{shown}");
    Ok(())
}

/// CVE-2024-21626: a descriptor of the runtime's leads out.
fn descriptors(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&[], &["sh", "-c", "ls -l /proc/self/fd; echo; exec sleep 1000"])?;
    guest.says("\n\n")?;
    let listings = [guest.ask("logs", &[])?.text()?, guest.exec(&[], &["ls", "-l", "/proc/self/fd"])?.text()?];
    for listing in listings {
        let open: Vec<&str> = listing.lines().filter_map(|line| line.split_once(" -> ")).map(|(_, to)| to).collect();
        // The fourth is the listing's own, and closed again when it is looked at.
        let known = |to: &&str| to.starts_with("pipe:") || to.starts_with("/proc/") || to.starts_with("/dev/null");
        ensure!(open.iter().all(known) && open.len() == 3, "open: {open:?}");
    }
    // The engine's own cases of it: a working directory that is a descriptor.
    let output = engine.run(&["--workdir", "/proc/self/fd/8"], &["pwd"])?;
    ensure!(output.code != Some(0), "{output}");
    Ok(())
}
