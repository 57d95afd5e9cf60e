//! Exit codes, as the caller of `run` sees them.

use anyhow::{Result, ensure};
use proa_tests::{Need, Suite, Under, cases, guest};

use super::{NATIVE, WASM};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            every_exit_code_comes_back,
            an_abort_ends_as_its_signal_says,
            a_failed_guest_does_not_disturb_its_neighbour,
            flags_that_do_not_exist_give_125,
            an_unknown_isolation_gives_125,
        ],
    );
    suite.under(WASM, &[], cases![a_component_knows_success_and_failure_only, a_trap_comes_with_its_backtrace]);
    suite.under(NATIVE, &[], cases![a_missing_program_gives_127, a_program_that_cannot_be_executed_gives_126]);
    suite.under(NATIVE, &[Need::Peer("busybox")], cases![a_signal_gives_128_plus_its_number]);
}

/// WASI 0.1 carries the number; a component's `wasi:cli/exit` knows only success and failure.
fn every_exit_code_comes_back(under: &Under) -> Result<()> {
    let layout = guest::packed(
        under.node,
        "probe-module",
        proa_tests::samples::PROBE_MODULE,
        Some(proa_tests::samples::PROBE_LINUX),
    )?;
    let image = under.node.load(layout)?;
    for code in [0, 1, 2, 42, 125, 126, 127, 128, 130, 134, 137, 255] {
        let wanted = code.to_string();
        let line = ["run", "--rm", "--isolation", under.isolation.name(), &image, "exit", &wanted];
        let output = under.node.proa(&line)?.exits(code)?;
        ensure!(output.stdout.is_empty(), "{output}");
    }
    Ok(())
}

fn a_component_knows_success_and_failure_only(under: &Under) -> Result<()> {
    under.node.run(under.isolation, &[], &["exit", "0"])?.success()?;
    under.node.run(under.isolation, &[], &["exit", "42"])?.exits(1)?;
    Ok(())
}

fn an_abort_ends_as_its_signal_says(under: &Under) -> Result<()> {
    // The kernel spares PID 1 its own SIGABRT (pid_namespaces(7)); musl then executes a privileged instruction, and
    // that SIGSEGV is not spared.
    let expected = if under.isolation.is_wasm() { 134 } else { 139 };
    under.node.run(under.isolation, &[], &["trap"])?.exits(expected)?;
    let container = under.node.detached(under.isolation, &[], &["trap"])?;
    ensure!(container.wait()? == expected);
    let state = container.ended()?;
    ensure!(state["ExitCode"] == expected && state["OOMKilled"] == false, "{state}");
    Ok(())
}

fn a_trap_comes_with_its_backtrace(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &[], &["trap"])?.exits(134)?;
    let said = output.complaint();
    ensure!(said.contains("unreachable") && said.contains("deep_inside_the_guest"), "{output}");
    Ok(())
}

fn a_failed_guest_does_not_disturb_its_neighbour(under: &Under) -> Result<()> {
    let neighbour = under.node.detached(under.isolation, &[], &["tick", "0.02"])?;
    let before = neighbour.outside()?.pid();
    for guest in [&["trap"][..], &["panic"], &["exit", "1"]] {
        let output = under.node.run(under.isolation, &[], guest)?;
        ensure!(output.code() != Some(0), "{output}");
    }
    let seen = neighbour.logs()?.lines().len();
    neighbour.shows("more ticks", |logs| logs.lines().count() > seen + 3)?;
    ensure!(neighbour.outside()?.pid() == before, "it runs in another process than before");
    Ok(())
}

fn flags_that_do_not_exist_give_125(under: &Under) -> Result<()> {
    under.node.run(under.isolation, &["--no-such-flag"], &["exit", "0"])?.refused(125, &["--no-such-flag"])?;
    under.node.run(under.isolation, &["-m", "lots"], &["exit", "0"])?.refused(125, &["lots"])?;
    Ok(())
}

fn an_unknown_isolation_gives_125(under: &Under) -> Result<()> {
    let probe = under.node.probe()?;
    let name = format!("{}x", under.isolation);
    under.node.proa(&["run", "--rm", "--isolation", &name, probe, "exit", "0"])?.refused(125, &[&name])?;
    Ok(())
}

fn a_missing_program_gives_127(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &["--entrypoint", "/no/such/program"], &[])?;
    output.refused(127, &["/no/such/program"])?;
    let output = under.node.run(under.isolation, &["--entrypoint", "nosuchprogram"], &[])?;
    output.refused(127, &["nosuchprogram"])?;
    Ok(())
}

fn a_program_that_cannot_be_executed_gives_126(under: &Under) -> Result<()> {
    under.node.run(under.isolation, &["--entrypoint", "/proc"], &[])?.refused(126, &["/proc"])?;
    Ok(())
}

fn a_signal_gives_128_plus_its_number(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let sh = |script: &'static str| {
        under.node.proa(&["run", "--rm", "--isolation", under.isolation.name(), &busybox, "sh", "-c", script])
    };
    sh("trap 'exit 9' TERM; kill -TERM $$; sleep 5")?.exits(9)?;
    sh("sh -c 'kill -SEGV $$'; exit $?")?.exits(139)?;
    let flags = ["--isolation", under.isolation.name()];
    let script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.1; done";
    let container = under.node.detached_image(&flags, &busybox, &["sh", "-c", script])?;
    container.shows("its handler is set", |logs| logs.contains("ready"))?;
    container.proa(&["kill", "-s", "USR1"])?.success()?;
    ensure!(container.wait()? == 5, "the guest's handler ran");
    Ok(())
}
