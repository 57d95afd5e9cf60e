//! A terminal of the container's own.

use anyhow::{Result, ensure};

use crate::Case;
use crate::engine::Engine;

pub(crate) const CASES: [Case<Engine>; 3] = [
    ("a terminal: its name, its console, the status", own),
    ("a terminal has the size of the person's", size),
    ("a terminal of a detached container", detached),
];

fn own(engine: &Engine) -> Result<()> {
    let script = "tty; test -t 1 && echo console > /dev/console; ls -l /proc/self/fd/0; exit 4";
    let output = engine.run(&["--tty"], &["sh", "-c", script])?;
    ensure!(output.code == Some(4), "{output}");
    let lines: Vec<&str> = output.out.lines().map(str::trim).collect();
    ensure!(lines.first() == Some(&"/dev/pts/0") && lines.contains(&"console"), "{output}");
    Ok(())
}

fn size(engine: &Engine) -> Result<()> {
    // The size arrives shortly after the start, as every engine sends it. podman loses what a terminal's program says just
    // before its end, now and then, so it does not end at once.
    let script = "while [ \"$(stty size)\" != \"31 93\" ]; do sleep 0.02; done; stty size; sleep 1";
    let words = engine.words(&["run", "--rm", "--interactive", "--tty"], &[], &["sh", "-c", script]);
    let output = engine.at_a_terminal(&words, "stty cols 93 rows 31")?;
    ensure!(output.code == Some(0) && output.out.contains("31 93"), "{output}");
    Ok(())
}

fn detached(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&["--interactive", "--tty"], &["sh", "-c", "tty; test -t 0 && exec sleep 1000"])?;
    guest.says("/dev/pts/0")?;
    ensure!(guest.field("{{.State.Status}}")? == "running");
    Ok(())
}
