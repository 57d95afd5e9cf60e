//! A caller at a container: signals, the terminal, the keys that leave it, the file of its id.

use std::fs;

use anyhow::{Result, ensure};
use proa_tests::node::fresh_name;
use proa_tests::{Node, Under, command, guest, wait};
use rustix::process::Signal;

use crate::terminal::Terminal;

pub(crate) fn a_signal_to_run_reaches_a_wasm_guest(under: &Under) -> Result<()> {
    let line = under.node.run_line(under.isolation, &[], &["tick", "0.02"])?;
    let running = command::start(&mut under.node.command(&line))?;
    running.shows("a tick", |seen| seen.contains("tick 2"))?;
    running.signal(Signal::TERM)?;
    running.finish(wait::PATIENCE)?.exits(143)?;
    Ok(())
}

pub(crate) fn a_signal_to_run_reaches_a_native_guest(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let script = "trap 'echo caught; exit 21' INT; echo ready; while :; do sleep 0.05; done";
    let line = ["run", "--rm", "--isolation", under.isolation.name(), &busybox, "sh", "-c", script];
    let running = command::start(&mut under.node.command(&line))?;
    running.shows("its handler is set", |seen| seen.contains("ready"))?;
    running.signal(Signal::INT)?;
    let output = running.finish(wait::PATIENCE)?.exits(21)?;
    ensure!(output.text() == "ready\ncaught", "{output}");
    Ok(())
}

/// ctrl-p ctrl-q, those of `--detach-keys`, and those of config.json; the container goes on.
pub(crate) fn the_keys_leave_a_terminal_and_not_its_container(under: &Under) -> Result<()> {
    let (node, busybox) = (under.node, guest::busybox(under.node)?);
    let name = fresh_name("keys");
    let line = ["run", "-it", "--name", &name, "--isolation", under.isolation.name(), &busybox, "sh"];
    let terminal = Terminal::open(&mut node.command(&line), 30, 100)?;
    terminal.shows("its prompt", "# ")?;
    terminal.types("stty size\n")?;
    terminal.shows("the size of the caller's terminal", "30 100")?;
    terminal.types("\x10\x11")?;
    terminal.ends(0)?;
    let terminal = Terminal::open(&mut node.command(&["attach", "--detach-keys", "ctrl-a,x", &name]), 30, 100)?;
    terminal.types("echo one$((1+1))\n")?;
    terminal.shows("it is attached", "one2")?;
    terminal.resize(41, 99)?;
    wait::until("the new size arrives", || {
        terminal.types("stty size\n")?;
        Ok(terminal.seen().contains("41 99"))
    })?;
    terminal.types("\x01x")?;
    terminal.ends(0)?;
    let state = node.proa(&["inspect", "-f", "{{.State.Status}}", &name])?.success()?;
    ensure!(state.text() == "running", "{state}");
    let terminal = Terminal::open(&mut node.command(&["attach", &name]), 30, 100)?;
    terminal.types("exit 5\n")?;
    terminal.ends(5)?;
    node.proa(&["rm", "-f", &name])?.success()?;
    Ok(())
}

pub(crate) fn the_keys_of_docker_s_settings_leave_an_exec(under: &Under) -> Result<()> {
    let (node, busybox) = (under.node, guest::busybox(under.node)?);
    let running = node.detached_image(&["--isolation", under.isolation.name()], &busybox, &["sleep", "1000"])?;
    let settings = tempfile(node, "{\"detachKeys\": \"ctrl-b\"}")?;
    let mut line = node.command(&["exec", "-it", running.id(), "sh"]);
    line.env("DOCKER_CONFIG", settings);
    let terminal = Terminal::open(&mut line, 30, 100)?;
    terminal.shows("its prompt", "# ")?;
    terminal.types("\x02")?;
    terminal.ends(0)
}

fn tempfile(node: &Node, text: &str) -> Result<std::path::PathBuf> {
    let folder = node.scratch().join(fresh_name("settings"));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("config.json"), text)?;
    Ok(folder)
}

pub(crate) fn only_the_streams_that_were_named_are_shown(under: &Under) -> Result<()> {
    let (node, busybox) = (under.node, guest::busybox(under.node)?);
    let script = "echo out; echo err >&2; exit 3";
    let base = ["--rm", "--isolation", under.isolation.name(), &busybox, "sh", "-c", script];
    let only = node.proa(&[&["run", "-a", "stderr"], &base[..]].concat())?.exits(3)?;
    ensure!(only.stdout.is_empty() && only.complaint() == "err", "{only}");
    let only = node.proa(&[&["run", "-a", "STDOUT"], &base[..]].concat())?.exits(3)?;
    ensure!(only.text() == "out" && only.stderr.is_empty(), "{only}");
    node.proa(&[&["run", "-d", "-a", "stdout"], &base[..]].concat())?.refused(1, &["--attach", "--detach"])?;
    Ok(())
}

pub(crate) fn a_container_s_id_is_written_to_a_file_that_was_not_there() -> Result<()> {
    let node = Node::shared()?;
    let file = node.scratch().join(fresh_name("cid"));
    let path = guest::path(&file)?;
    let made = node.proa(&["create", "--cidfile", path, node.probe()?, "out", "x"])?.success()?;
    ensure!(fs::read_to_string(&file)? == made.text(), "{made}");
    node.proa(&["create", "--cidfile", path, node.probe()?, "out", "x"])?.refused(1, &["container ID file found"])?;
    fs::remove_file(&file)?;
    node.proa(&["create", "--cidfile", path, "--pull", "never", "no/such:image"])?.refused(1, &["No such image"])?;
    ensure!(!file.exists(), "the file of a container that was not made is left");
    node.proa(&["rm", &made.text()])?.success()?;
    Ok(())
}

/// A reader who goes away ends the command and nothing else.
pub(crate) fn a_closed_pipe_ends_quietly() -> Result<()> {
    let node = Node::shared()?;
    for verb in ["ps", "images", "info", "man /dev/null/x; true", "events --since 1h --until 0s"] {
        let mut shell = std::process::Command::new("sh");
        let program = proa_tests::harness::program();
        shell.arg("-c").arg(format!("{} {verb} | true", program.display()));
        shell.env("PROA_HOST", format!("unix://{}", node.socket().display()));
        let output = command::run(&mut shell, wait::PATIENCE)?;
        ensure!(!output.complaint().contains("roken pipe"), "{output}");
    }
    Ok(())
}
