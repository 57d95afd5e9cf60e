//! Bounds that hold, and bounds that are refused in a sentence.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use proa_tests::{Need, Suite, Under, cases, guest};

use super::{NATIVE, OWN_PROCESS, WASM};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[Need::Cgroups],
        cases![memory_is_bounded, memory_below_the_bound_is_had, a_demand_above_capacity_is_refused_with_its_numbers],
    );
    suite.under(NATIVE, &[Need::Cgroups], cases![too_much_memory_is_reported_as_such]);
    suite.under(NATIVE, &[Need::Cgroups, Need::Peer("busybox")], cases![processes_are_bounded]);
    suite.under(OWN_PROCESS, &[Need::Cgroups], cases![cpu_time_is_bounded]);
    suite.under(WASM, &[Need::OrdinaryUser], cases![memory_is_bounded_without_cgroups_too]);
    suite.under(
        &[proa_tests::Isolation::WasmProcess],
        &[Need::OrdinaryUser],
        cases![a_limit_that_would_not_hold_is_refused],
    );
    suite.under(WASM, &[], cases![a_process_limit_is_accepted_with_a_warning]);
    suite.under(&[proa_tests::Isolation::Wasm], &[], cases![cpus_are_refused_under_wasm]);
}

fn memory_is_bounded(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-m", "48m"], &["alloc", "200"])?;
    let code = container.wait()?;
    let logs = container.logs()?;
    ensure!(!logs.text().contains("allocated 200 MiB"), "it got 200 MiB under a limit of 48: {logs}");
    // A native guest is killed; a Wasm guest is told that there is no more memory, and may take it as it likes.
    let expected: &[i32] = if under.isolation.is_wasm() { &[1, 134, 137] } else { &[137] };
    ensure!(expected.contains(&code), "it ended with {code}: {logs}");
    Ok(())
}

/// A Wasm guest's memory is the engine's to give.
fn memory_is_bounded_without_cgroups_too(under: &Under) -> Result<()> {
    memory_is_bounded(under)?;
    memory_below_the_bound_is_had(under)
}

fn a_limit_that_would_not_hold_is_refused(under: &Under) -> Result<()> {
    if Need::Cgroups.lacking().is_none() {
        return Ok(());
    }
    under.node.run(under.isolation, &["--cpus", "0.5"], &["out", "x"])?.refused(125, &["cgroup"])?;
    Ok(())
}

fn memory_below_the_bound_is_had(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &["-m", "96m"], &["alloc", "40"])?.success()?;
    ensure!(output.text() == "allocated 40 MiB", "{output}");
    Ok(())
}

fn too_much_memory_is_reported_as_such(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-m", "32m"], &["alloc", "200"])?;
    ensure!(container.wait()? == 137);
    let state = container.ended()?;
    ensure!(state["OOMKilled"] == true, "{state}");
    Ok(())
}

fn a_demand_above_capacity_is_refused_with_its_numbers(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &["--memory-reservation", "9000g"], &["out", "x"])?;
    let output = output.refused(125, &["capacity"])?;
    let numbers =
        output.complaint().split(|letter: char| !letter.is_ascii_digit()).filter(|part| !part.is_empty()).count();
    ensure!(numbers >= 2, "the refusal names what was asked for and what there is: {output}");
    Ok(())
}

fn processes_are_bounded(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let script = "i=0; while [ $i -lt 40 ]; do sleep 30 & i=$((i+1)); done; echo all";
    let flags = ["run", "--rm", "--isolation", under.isolation.name(), "--pids-limit", "12", &busybox];
    let output = under.node.proa(&[&flags[..], &["sh", "-c", script]].concat())?;
    ensure!(!output.text().contains("all") && output.complaint().contains("fork"), "{output}");
    let roomy = ["run", "--rm", "--isolation", under.isolation.name(), "--pids-limit", "100", &busybox];
    let output = under.node.proa(&[&roomy[..], &["sh", "-c", script]].concat())?.success()?;
    ensure!(output.text() == "all", "{output}");
    Ok(())
}

fn cpu_time_is_bounded(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["--cpus", "0.25"], &["spin"])?;
    let outside = container.outside()?;
    let used = || -> Result<Duration> {
        let stat = outside.read("stat")?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        // utime and stime, proc(5) fields 14 and 15, in ticks of 1/100 s.
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 10))
    };
    proa_tests::wait::until("the guest computes", || Ok(used()? > Duration::from_millis(50)))?;
    let (begin, before) = (Instant::now(), used()?);
    // A rate has to be measured over time.
    thread::sleep(Duration::from_secs(2));
    let share = (used()? - before).as_secs_f64() / begin.elapsed().as_secs_f64();
    ensure!(share < 0.35, "0.25 CPUs were granted, {share:.2} were used");
    Ok(())
}

fn a_process_limit_is_accepted_with_a_warning(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &["--pids-limit", "10"], &["out", "x"])?.success()?;
    ensure!(output.text() == "x" && output.complaint().to_lowercase().contains("pids"), "{output}");
    Ok(())
}

fn cpus_are_refused_under_wasm(under: &Under) -> Result<()> {
    under.node.run(under.isolation, &["--cpus", "0.5"], &["out", "x"])?.refused(125, &["cpus"])?;
    Ok(())
}
