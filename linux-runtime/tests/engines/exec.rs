//! One more process in a running container.

use anyhow::{Result, ensure};

use crate::Case;
use crate::engine::Engine;

pub(crate) const CASES: [Case<Engine>; 4] = [
    ("exec: output, status, environment, directory and user", output_and_status),
    ("exec: the container's namespaces and rights", same_container),
    ("exec: a missing program, and one that cannot be executed", missing_program),
    ("exec: at a terminal, and detached", terminal),
];

fn output_and_status(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&[], &["sleep", "1000"])?;
    let output = guest.exec(&[], &["sh", "-c", "echo out; echo err >&2; exit 9"])?;
    ensure!(output.code == Some(9) && output.out == "out\n" && output.err == "err\n", "{output}");
    let options = ["--env", "SHIP=proa", "--workdir", "/tmp", "--user", "1000:1000"];
    let output = guest.exec(&options, &["sh", "-c", "echo $SHIP; pwd; id -u; id -g"])?.text()?;
    ensure!(output == "proa\n/tmp\n1000\n1000", "{output}");
    Ok(())
}

fn same_container(engine: &Engine) -> Result<()> {
    let options = ["--cap-drop", "all", "--cap-add", "chown", "--security-opt", "no-new-privileges"];
    let guest = engine.detached(&options, &["sleep", "1000"])?;
    let all = "for kind in cgroup ipc mnt net pid uts user; do readlink /proc/$0/ns/$kind; done; cat /proc/$0/cgroup; \
               grep -E 'CapEff|CapBnd|Seccomp:|NoNewPrivs' /proc/$0/status";
    let first = guest.exec(&[], &["sh", "-c", all, "1"])?.text()?;
    let own = guest.exec(&[], &["sh", "-c", all, "self"])?.text()?;
    // Where the container has no group of its own, each process stays in its starter's.
    let same = |text: &str| {
        text.lines().filter(|line| !line.contains(":/") || line.contains(&guest.id)).collect::<Vec<_>>().join("\n")
    };
    let (first, own) = (same(&first), same(&own));
    ensure!(first == own && first.contains(&guest.id), "the first process:\n{first}\none that joined:\n{own}");
    Ok(())
}

fn missing_program(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&[], &["sleep", "1000"])?;
    // Which of both a missing one is depends on how an engine reads the runtime's sentence.
    for (program, codes) in [("/no/such/program", [126, 127]), ("/etc/plain", [126, 126])] {
        let output = guest.exec(&[], &[program])?;
        ensure!(output.code.is_some_and(|code| codes.contains(&code)), "expected one of {codes:?}: {output}");
    }
    ensure!(guest.field("{{.State.Status}}")? == "running");
    Ok(())
}

fn terminal(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&[], &["sleep", "1000"])?;
    let output = guest.exec(&["--tty"], &["tty"])?.text()?;
    ensure!(output.starts_with("/dev/pts/"), "{output}");
    let words = ["exec", "--interactive", "--tty", &guest.id, "sh", "-c", "test -t 0 && tty; exit 6"];
    let output = engine.at_a_terminal(&words, "stty cols 93 rows 31")?;
    ensure!(output.code == Some(6) && output.out.contains("/dev/pts/"), "{output}");
    guest.exec(&["--detach"], &["sh", "-c", "echo later > /tmp/later"])?.text()?;
    let told = || Ok(guest.exec(&[], &["cat", "/tmp/later"])?.out == "later\n");
    crate::wait::until("the detached process has written", told)
}
