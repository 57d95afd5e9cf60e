//! What goes in and out: `run`, `attach`, `logs`, `exec`, terminals.

use std::io::Write;

use anyhow::{Result, ensure};
use proa_tests::{cases, guest, wait};

use super::{On, Under};

pub(super) const CASES: [Under; 6] = cases![
    docker_runs_and_passes_the_exit_code,
    docker_runs_with_input_and_output,
    docker_runs_detached_and_follows_logs,
    docker_reads_logs_in_parts,
    docker_attaches,
    docker_executes_a_second_program,
];
pub(super) const NATIVE_CASES: [Under; 2] = cases![docker_executes, docker_gives_a_terminal];

fn docker_runs_and_passes_the_exit_code(on: &On<'_>) -> Result<()> {
    let output = on.run(&["--rm"], &["out", "by docker"])?.success()?;
    ensure!(output.stdout == b"by docker\n" && output.stderr.is_empty(), "{output}");
    on.run(&["--rm"], &["exit", "1"])?.exits(1)?;
    let output = on.run(&["--rm", "-e", "A=b"], &["env"])?.success()?;
    ensure!(output.lines().iter().any(|line| line == "A=b"), "{output}");
    Ok(())
}

fn docker_runs_with_input_and_output(on: &On<'_>) -> Result<()> {
    let input = guest::blob(5_000_000);
    let output = on.docker.feed(&on.line("run", &["--rm", "-i"], &["cat"])?, &input)?.success()?;
    ensure!(output.stdout == input, "{} of {} bytes came back", output.stdout.len(), input.len());
    let output = on.docker.feed(&on.line("run", &["--rm", "-i"], &["upper"])?, b"Word\n")?.success()?;
    ensure!(output.stdout == b"WORD\n" && output.stderr == b"word\n", "{output}");
    Ok(())
}

fn docker_runs_detached_and_follows_logs(on: &On<'_>) -> Result<()> {
    let id = on.detached(&[], &["tick", "0.02"])?;
    let follower = on.docker.start(&["logs", "-f", &id])?;
    follower.shows("ticks", |seen| seen.contains("tick 10\n"))?;
    on.remove(&id)?;
    follower.finish(wait::PATIENCE)?.keeps_its_composure()?;
    Ok(())
}

fn docker_reads_logs_in_parts(on: &On<'_>) -> Result<()> {
    let id = on.detached(&[], &["lines", "5"])?;
    on.docker.run(&["wait", &id])?.success()?;
    let tail = on.docker.run(&["logs", "--tail", "2", &id])?.success()?;
    ensure!(tail.text() == "line 4\nline 5", "{tail}");
    let stamped = on.docker.run(&["logs", "-t", "-n", "1", &id])?.success()?;
    ensure!(stamped.text().starts_with("20") && stamped.text().ends_with("Z line 5"), "{stamped}");
    let late = on.docker.run(&["logs", "--since", "2100-01-01T00:00:00Z", &id])?.success()?;
    ensure!(late.stdout.is_empty(), "{late}");
    let all = on.docker.run(&["logs", "--until", "2100-01-01T00:00:00Z", &id])?.success()?;
    ensure!(all.lines().len() == 5, "{all}");
    on.remove(&id)
}

fn docker_attaches(on: &On<'_>) -> Result<()> {
    let id = on.detached(&["-i"], &["cat"])?;
    let mut attached = on.docker.start(&["attach", &id])?;
    let mut stdin = attached.stdin()?;
    stdin.write_all(b"echo\n")?;
    attached.shows("the answer", |seen| seen.contains("echo"))?;
    on.docker.run(&["kill", &id])?.success()?;
    drop(stdin);
    attached.finish(wait::PATIENCE)?.exits(137)?;
    on.remove(&id)
}

fn docker_executes_a_second_program(on: &On<'_>) -> Result<()> {
    let id = on.detached(&[], &["tick", "1"])?;
    // A Wasm container's program is its image's module, a fresh instance of it.
    let program: &[&str] = if on.isolation.is_wasm() { &[] } else { &["/app"] };
    let exec = |flags: &[&str], args: &[&str]| on.docker.run(&[&["exec"], flags, &[&id], program, args].concat());
    let output = exec(&["-e", "A=1"], &["env"])?.success()?;
    ensure!(output.lines().iter().any(|line| line == "A=1"), "{output}");
    exec(&[], &["exit", &on.code().to_string()])?.exits(on.code())?;
    let input = guest::blob(200_000);
    let line = [&["exec", "-i", &id], program, &["cat"]].concat();
    let output = on.docker.feed(&line, &input)?.success()?;
    ensure!(output.stdout == input, "{} of {} bytes came back", output.stdout.len(), input.len());
    on.remove(&id)
}

fn docker_executes(on: &On<'_>) -> Result<()> {
    let id = on.busybox(&["-i"], &["cat"])?;
    let output = on.docker.run(&["exec", "-e", "A=1", "-w", "/tmp", &id, "sh", "-c", "echo $A; pwd; exit 3"])?;
    ensure!(output.clone().exits(3)?.text() == "1\n/tmp", "{output}");
    let output = on.docker.run(&["exec", "-u", "guest", &id, "id", "-u"])?;
    ensure!(output.text() == "1000", "{output}");
    on.docker.run(&["exec", &id, "/no/such"])?.exits(127)?;
    on.docker.run(&["exec", "-d", &id, "touch", "/tmp/detached"])?.success()?;
    wait::until("the detached exec has run", || {
        Ok(on.docker.run(&["exec", &id, "test", "-e", "/tmp/detached"])?.code() == Some(0))
    })?;
    on.remove(&id)
}

fn docker_gives_a_terminal(on: &On<'_>) -> Result<()> {
    let image = guest::busybox(on.docker.node)?;
    let flags = ["run", "--rm", "-t", "--isolation", on.isolation.name(), &image, "sh", "-c", "test -t 1 && echo yes"];
    let output = on.docker.run(&flags)?.success()?;
    ensure!(output.stdout == b"yes\r\n", "{output}");
    Ok(())
}
