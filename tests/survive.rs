//! The data plane outlives the control plane: SIGKILL of the host at every bad moment, and what is left after the end.
#![forbid(unsafe_code)]

#[path = "survive/healing.rs"]
mod healing;

use std::fs;
use std::net::SocketAddr;
use std::process::{ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proa_tests::image::{Image, Recipe};
use proa_tests::load::{self, Load};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::Tarball;
use proa_tests::{Isolation, Need, Node, Under, cases, command, guest, harness, leftovers, peer, wait};

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        healing::fill(suite);
        suite.under_all(
            &[],
            cases![
                a_guest_survives_the_host_and_is_found_again,
                no_line_is_lost_while_hosts_are_killed,
                a_quiet_writer_loses_nothing_either,
                standard_input_stays_open_while_the_host_is_away,
                a_host_killed_while_it_creates_leaves_nothing_half_made,
                sigterm_leaves_guests_running,
                permits_come_back_with_the_adopted,
            ],
        );
        suite.under(
            &[Isolation::Linux, Isolation::LinuxUserns],
            &[Need::Peer("busybox")],
            cases![a_host_killed_within_an_exec_is_no_harm],
        );
        suite.under(
            &[Isolation::Linux, Isolation::LinuxUserns],
            &[],
            cases![an_exit_while_the_host_is_away_is_reported],
        );
        // A worker's descriptors, by which its guest's end is seen, are nobody's to look at but root's.
        suite.under(
            &[Isolation::Wasm, Isolation::WasmProcess],
            &[Need::Root],
            cases![an_exit_while_the_host_is_away_is_reported],
        );
        suite.under(
            &[Isolation::Wasm, Isolation::WasmProcess],
            &[],
            cases![an_http_guest_under_load_fails_no_request_while_hosts_are_killed],
        );
        suite.add(&[Need::Isolation(Isolation::Linux)], cases![a_host_killed_within_a_pull_leaves_no_half_image]);
        suite.add(
            &[],
            cases![
                two_hosts_never_meet,
                a_second_host_on_one_root_is_refused,
                a_stale_socket_is_replaced,
                a_long_root_path_is_no_obstacle,
                system_stop_leaves_nothing,
                the_command_line_starts_a_host_by_itself,
                a_dead_proa_host_fails_in_one_sentence_in_time,
                an_idle_zygote_without_a_host_ends,
            ],
        );
    })
}

/// A node of the case's own, closed with all checks at its end.
fn with_node(body: impl FnOnce(&Node) -> Result<()>) -> Result<()> {
    let node = Node::start()?;
    let held = body(&node).with_context(|| node.said());
    let closed = node.close();
    held.and(closed)
}

fn a_guest_survives_the_host_and_is_found_again(under: &Under) -> Result<()> {
    with_node(|node| {
        let guest = node.detached(under.isolation, &[], &["tick", "0.02"])?;
        guest.shows("a tick", |logs| logs.contains("tick 3"))?;
        let before = guest.outside()?;
        node.kill()?;
        ensure!(before.lives(), "the guest's process ended with the host");
        node.wake()?;
        ensure!(guest.outside()?.pid() == before.pid(), "the container has another process now");
        let seen = guest.logs()?.lines().len();
        guest.shows("new ticks", |logs| logs.lines().count() > seen + 10)?;
        guest.proa(&["stop", "-t", "1"])?.success()?;
        guest.proa(&["rm"])?.success()?;
        Ok(())
    })
}

fn an_exit_while_the_host_is_away_is_reported(under: &Under) -> Result<()> {
    with_node(|node| {
        let failing = node.detached(under.isolation, &["-i"], &["sleep", "0.4"])?;
        let trapping = node.detached(under.isolation, &[], &["tick", "0.05"])?;
        let pid = failing.outside()?.pid();
        let held = pipes(pid)?;
        node.kill()?;
        // A native guest's process goes; a Wasm one's worker stays, and closes what was its guest's standard input.
        if under.isolation.is_wasm() {
            wait::until("the guest has ended", || Ok(pipes(pid)? < held))?;
        } else {
            wait::until("the guest has ended", || Ok(!proa_tests::outside::Outside::new(pid).lives()))?;
        }
        node.wake()?;
        let state = failing.ended()?;
        ensure!(state["ExitCode"] == 0, "{state}");
        ensure!(failing.wait()? == 0);
        ensure!(trapping.inspect()?["State"]["Running"] == true);
        trapping.proa(&["kill"])?.success()?;
        ensure!(trapping.wait()? == 137);
        Ok(())
    })
}

/// How many ends of pipes and sockets a process holds.
fn pipes(pid: u32) -> Result<usize> {
    let all = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(all.filter(|link| link.to_string_lossy().starts_with("pipe:")).count())
}

/// Lines are written as fast as they are taken while three hosts die; none is lost, at most one buffer comes twice.
fn no_line_is_lost_while_hosts_are_killed(under: &Under) -> Result<()> {
    const LINES: usize = 6_000_000;
    with_node(|node| {
        let guest = node.detached(under.isolation, &[], &["lines", &LINES.to_string()])?;
        let mut in_the_middle = 0;
        for _ in 0..3 {
            let before = log_size(node);
            wait::until("the log grows", || Ok(log_size(node) > before + 500_000 || has_ended(node, guest.id())))?;
            node.kill()?;
            let stands_still = log_size(node);
            node.wake()?;
            in_the_middle += usize::from(!has_ended(node, guest.id()) && stands_still > 0);
        }
        ensure!(in_the_middle >= 2, "the guest was too quick: only {in_the_middle} hosts died while it wrote");
        ensure!(guest.wait()? == 0);
        let logs = command::run(&mut node.command(&["logs", guest.id()]), Duration::from_secs(180))?.success()?;
        whole(&logs.lines(), "line ", LINES, 3)
    })
}

fn has_ended(node: &Node, id: &str) -> bool {
    node.proa(&["inspect", "--format", "{{.State.Status}}", id]).is_ok_and(|output| output.text() == "exited")
}

fn log_size(node: &Node) -> u64 {
    fn size(folder: &std::path::Path) -> u64 {
        let Ok(entries) = fs::read_dir(folder) else { return 0 };
        let sizes = entries.flatten().map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        });
        sizes.sum()
    }
    size(&node.root().join("containers"))
}

/// All numbers from 1 to `count` are there in order. Each kill may repeat one buffer, whose begin may stand within a
/// line.
fn whole(lines: &[String], prefix: &str, count: usize, kills: usize) -> Result<()> {
    let (mut next, mut repeated, mut broken) = (1_usize, 0_usize, 0_usize);
    for (at, line) in lines.iter().enumerate() {
        match line.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok()) {
            Some(number) if number == next => next += 1,
            Some(number) if number < next => repeated += line.len() + 1,
            // What was cut here comes whole at the end of the repetition.
            _ if broken < kills => broken += 1,
            _ => anyhow::bail!("line {at} is `{line}` where `{prefix}{next}` was due"),
        }
    }
    ensure!(next == count + 1, "it ends before `{prefix}{next}` of {count}");
    ensure!(repeated <= kills * (64 << 10), "{repeated} bytes came twice after {kills} kills");
    Ok(())
}

fn a_quiet_writer_loses_nothing_either(under: &Under) -> Result<()> {
    with_node(|node| {
        let guest = node.detached(under.isolation, &[], &["tick", "0.01"])?;
        for _ in 0..4 {
            let seen = guest.logs()?.lines().len();
            guest.shows("more ticks", |logs| logs.lines().count() > seen + 5)?;
            node.restart()?;
        }
        guest.proa(&["kill"])?.success()?;
        ensure!(guest.wait()? == 137);
        let lines = guest.logs()?.lines();
        let last = lines.last().and_then(|line| line.strip_prefix("tick ")?.parse().ok());
        whole(&lines, "tick ", last.context("there are ticks")?, 4)
    })
}

fn standard_input_stays_open_while_the_host_is_away(under: &Under) -> Result<()> {
    with_node(|node| {
        let guest = node.detached(under.isolation, &["-i"], &["cat"])?;
        node.restart()?;
        ensure!(guest.inspect()?["State"]["Running"] == true, "it took the host's death for the end of its input");
        let mut attached = guest.start(&["attach"])?;
        let mut stdin = attached.stdin()?;
        std::io::Write::write_all(&mut stdin, b"still there\n")?;
        attached.shows("the answer", |seen| seen.contains("still there"))?;
        guest.proa(&["kill"])?.success()?;
        drop(stdin);
        attached.finish(wait::PATIENCE)?.exits(137)?;
        Ok(())
    })
}

/// The host is killed at moments spread over a whole `run`; afterwards each container is whole or absent, and the
/// next `run` works.
fn a_host_killed_while_it_creates_leaves_nothing_half_made(under: &Under) -> Result<()> {
    with_node(|node| {
        node.run(under.isolation, &[], &["out", "warm"])?.success()?;
        let begin = Instant::now();
        node.run(under.isolation, &[], &["out", "x"])?.success()?;
        let whole_run = begin.elapsed();
        for step in 0..12_u32 {
            let line = node.run_line(under.isolation, &[], &["sleep", "0.02"])?;
            let running = command::start(&mut node.command(&line))?;
            thread::sleep(whole_run * step / 12);
            node.restart()?;
            // The client may have lost its host; what counts is what the next host knows.
            running.finish(wait::PATIENCE)?.keeps_its_composure()?;
        }
        // What was started goes by itself; what was only created stays for its owner.
        wait::until("nothing runs", || Ok(node.proa(&["ps", "-q"])?.success()?.text().is_empty()))?;
        for id in node.proa(&["ps", "-aq"])?.success()?.lines() {
            node.proa(&["rm", "-f", &id])?.keeps_its_composure()?;
        }
        ensure!(node.proa(&["ps", "-aq"])?.success()?.text().is_empty());
        node.run(under.isolation, &[], &["out", "still works"])?.success()?;
        let folders = fs::read_dir(node.root().join("containers")).map_or(0, Iterator::count);
        ensure!(folders == 0, "{folders} folders of containers nobody knows");
        Ok(())
    })
}

fn sigterm_leaves_guests_running(under: &Under) -> Result<()> {
    with_node(|node| {
        let guest = node.detached(under.isolation, &[], &["tick", "0.05"])?;
        let before = guest.outside()?;
        node.terminate()?;
        ensure!(before.lives(), "SIGTERM to the host ended the guest");
        ensure!(!node.socket().exists(), "a host that ended in peace left its socket");
        node.wake()?;
        ensure!(guest.inspect()?["State"]["Running"] == true);
        Ok(())
    })
}

fn permits_come_back_with_the_adopted(under: &Under) -> Result<()> {
    with_node(|node| {
        let info = node.get("/info")?.success()?.json()?;
        let total = info["MemTotal"].as_u64().context("`MemTotal` is a number")?;
        let most = (total / 3 * 2).to_string();
        let guest = node.detached(under.isolation, &["--memory-reservation", &most], &["tick", "1"])?;
        let again = ["--memory-reservation", &most];
        node.run(under.isolation, &again, &["out", "x"])?.refused(125, &["MiB"])?;
        node.restart()?;
        node.run(under.isolation, &again, &["out", "x"])?.refused(125, &["MiB"])?;
        guest.proa(&["rm", "-f"])?.success()?;
        node.run(under.isolation, &again, &["out", "x"])?.success()?;
        Ok(())
    })
}

fn a_host_killed_within_an_exec_is_no_harm(under: &Under) -> Result<()> {
    with_node(|node| {
        let busybox = guest::busybox(node)?;
        let guest = node.detached_image(&["-i", "--isolation", under.isolation.name()], &busybox, &["cat"])?;
        let mut line = node.command(&["exec", guest.id(), "sh", "-c", "echo begun; sleep 1000"]);
        let exec = command::start(&mut line)?;
        exec.shows("it has begun", |seen| seen.contains("begun"))?;
        node.restart()?;
        exec.finish(wait::PATIENCE)?.keeps_its_composure()?;
        ensure!(guest.inspect()?["State"]["Running"] == true);
        let output = node.proa(&["exec", guest.id(), "echo", "again"])?.success()?;
        ensure!(output.text() == "again", "{output}");
        let outside = guest.outside()?;
        guest.proa(&["rm", "-f"])?.success()?;
        ensure!(!outside.lives() && outside.descendants().is_empty(), "the first exec outlived its container");
        Ok(())
    })
}

fn an_http_guest_under_load_fails_no_request_while_hosts_are_killed(under: &Under) -> Result<()> {
    with_node(|node| {
        let image = node.load(guest::http_layout(node)?)?;
        let address = peer::free_address()?;
        let publish = format!("{address}:80");
        let guest = node.detached_image(&["--isolation", under.isolation.name(), "-p", &publish], &image, &[])?;
        answers(address)?;
        let load = Load::start(address);
        for _ in 0..4 {
            let before = load.answered();
            wait::until("the load goes on", || Ok(load.answered() > before + 50))?;
            node.kill()?;
            let away = load.answered();
            wait::until("requests are answered without a host", || Ok(load.answered() > away + 50))?;
            node.wake()?;
        }
        let answered = load.stop()?;
        ensure!(answered > 400, "only {answered} requests");
        let (status, body) = load::request(address, "POST", "/echo", &guest::blob(200_000))?;
        ensure!(status == 200 && body.len() > 100_000, "{status}, {} bytes", body.len());
        ensure!(load::get(address, "/trap").map_or(true, |(status, _)| status >= 500), "a trap is no answer");
        answers(address)?;
        guest.proa(&["stop", "-t", "1"])?.success()?;
        ensure!(load::get(address, "/").is_err(), "somebody still answers after `stop`");
        Ok(())
    })
}

fn answers(address: SocketAddr) -> Result<()> {
    wait::until("the HTTP guest answers", || Ok(load::get(address, "/").is_ok_and(|(status, _)| status == 200)))
}

fn a_host_killed_within_a_pull_leaves_no_half_image() -> Result<()> {
    with_node(|node| {
        let shelf = Shelf::open()?;
        let bulk = guest::blob(3_000_000);
        let layer =
            Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).file("bulk", 0o644, &bulk).finish();
        let image = Image::native(&Recipe { entrypoint: &["/probe"], ..Recipe::default() }, vec![layer]);
        let reference = shelf.put("half", &image);
        shelf.hold_back(&image.last_layer());
        let pull = command::start(&mut node.command(&["pull", &reference]))?;
        wait::until("the layer is half sent", || Ok(shelf.half_sent() > 0))?;
        node.kill()?;
        pull.finish(wait::PATIENCE)?.keeps_its_composure()?;
        node.wake()?;
        ensure!(node.proa(&["images", "-q"])?.success()?.text().is_empty(), "half an image is listed");
        let blob = node.root().join("store/blobs/sha256").join(image.last_layer().trim_start_matches("sha256:"));
        ensure!(!blob.exists(), "half a blob lies under its digest");
        shelf.release();
        node.proa(&["pull", &reference])?.success()?;
        let output = node.proa(&["run", "--rm", "--isolation", "linux", &reference, "out", "whole"])?.success()?;
        ensure!(output.text() == "whole", "{output}");
        Ok(())
    })
}

fn two_hosts_never_meet() -> Result<()> {
    let (one, two) = (Node::start()?, Node::start()?);
    let isolation = Isolation::ALL.into_iter().find(|model| Need::Isolation(*model).lacking().is_none());
    let isolation = isolation.context("no isolation at all is available here")?;
    let here = one.detached(isolation, &["--name", "same"], &["tick", "0.05"])?;
    let there = two.detached(isolation, &["--name", "same"], &["tick", "0.05"])?;
    ensure!(one.proa(&["ps", "-q", "--no-trunc"])?.success()?.lines() == [here.id()]);
    ensure!(two.proa(&["ps", "-q", "--no-trunc"])?.success()?.lines() == [there.id()]);
    two.proa(&["inspect", here.id()])?.refused(1, &["no such"])?;
    let outside = there.outside()?;
    drop(here);
    one.close()?;
    ensure!(outside.lives() && there.inspect()?["State"]["Running"] == true, "`system stop` reached another root");
    drop(there);
    two.close()
}

fn a_second_host_on_one_root_is_refused() -> Result<()> {
    with_node(|node| {
        let root = guest::path(node.root())?;
        let other = node.scratch().join("other.sock");
        for socket in [guest::path(node.socket())?, guest::path(&other)?] {
            let output = node.proa(&["host", "--root", root, "--socket", socket])?;
            ensure!(output.code() != Some(0), "{output}");
            let code = output.code().unwrap_or_default();
            output.refused(code, &[])?;
        }
        ensure!(!other.exists(), "the refused host left its socket");
        node.get("/_ping")?.success()?;
        Ok(())
    })
}

fn a_stale_socket_is_replaced() -> Result<()> {
    with_node(|node| {
        node.kill()?;
        ensure!(node.socket().exists(), "SIGKILL leaves the socket's name behind");
        node.wake()?;
        node.get("/_ping")?.success()?;
        Ok(())
    })
}

/// A Unix socket's address holds 108 bytes; a root may be longer.
fn a_long_root_path_is_no_obstacle() -> Result<()> {
    let node = Node::below(&"a-rather-long-name-for-a-directory-".repeat(4))?;
    node.wake()?;
    let isolation = Isolation::ALL.into_iter().find(|model| Need::Isolation(*model).lacking().is_none());
    node.run(isolation.context("no isolation at all is available here")?, &[], &["out", "far down"])?.success()?;
    node.close()
}

fn system_stop_leaves_nothing() -> Result<()> {
    let node = Node::start()?;
    for isolation in Isolation::ALL {
        if Need::Isolation(isolation).lacking().is_none() {
            // Kept alive on purpose: ending them is the host's work here.
            std::mem::forget(node.detached(isolation, &[], &["spin"])?);
            std::mem::forget(node.detached(isolation, &["-i"], &["cat"])?);
            node.proa(&["run", "--isolation", isolation.name(), node.probe()?, "out", "ended before"])?.success()?;
        }
    }
    ensure!(!leftovers::processes(node.root()).is_empty());
    node.close()
}

fn the_command_line_starts_a_host_by_itself() -> Result<()> {
    let node = Node::asleep()?;
    let isolation = Isolation::ALL.into_iter().find(|model| Need::Isolation(*model).lacking().is_none());
    let isolation = isolation.context("no isolation at all is available here")?;
    let module = node.scratch().join("hello.wasm");
    fs::write(&module, proa_tests::samples::HELLO_COMPONENT)?;
    let mut line = node.command(&["run", "--rm", "--isolation", isolation.name(), guest::path(&module)?]);
    line.env_remove("PROA_HOST").env("PROA_ROOT", node.root());
    let checked = autostarted(&node, &mut line);
    let mut stop = node.command(&["system", "stop"]);
    stop.env_remove("PROA_HOST").env("PROA_ROOT", node.root());
    let stopped = command::run(&mut stop, wait::PATIENCE)?;
    checked?;
    stopped.success()?;
    leftovers::none(node.root())?;
    node.close()
}

fn autostarted(node: &Node, line: &mut std::process::Command) -> Result<()> {
    if Need::Isolation(Isolation::Wasm).lacking().is_none() {
        let output = command::run(line, wait::PATIENCE)?.success()?;
        ensure!(output.text().contains("Hello, world!"), "{output}");
    }
    let mut info = node.command(&["ps", "-q"]);
    info.env_remove("PROA_HOST").env("PROA_ROOT", node.root());
    command::run(&mut info, wait::PATIENCE)?.success()?;
    let found = leftovers::processes(node.root());
    ensure!(!found.is_empty(), "no host runs");
    for pid in found {
        ensure!(session(&pid.to_string())? != session("self")?, "process {pid} stayed in the caller's session");
    }
    Ok(())
}

/// The session of a process, 0 where its leader is in a pid namespace further out (proc_pid_stat(5), field 6): read here
/// since rustix takes such a 0 for impossible, and continuous integration runs in a namespace like that.
fn session(pid: &str) -> Result<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").context("no name in the process's line")?.1;
    Ok(fields.split(' ').nth(3).context("no session in the process's line")?.parse()?)
}

fn a_dead_proa_host_fails_in_one_sentence_in_time() -> Result<()> {
    let node = Node::asleep()?;
    for args in [&["run", "--rm", "busybox"][..], &["ps"]] {
        let begin = Instant::now();
        let output = node.proa(args)?;
        let took = begin.elapsed();
        output.refused(125, &[guest::path(node.socket())?])?;
        ensure!(took < Duration::from_secs(4), "it took {took:?}");
    }
    ensure!(leftovers::processes(node.root()).is_empty() && !node.root().exists(), "it started a host");
    let mut bad = node.command(&["ps"]);
    bad.env("PROA_HOST", "tcp://127.0.0.1:1").stdin(Stdio::null());
    command::run(&mut bad, wait::PATIENCE)?.refused(1, &["unix://"])?;
    node.close()
}

/// Zygote and workers with nothing to hold and no host end after 10 s (ARCHITECTURE.md, "Life").
fn an_idle_zygote_without_a_host_ends() -> Result<()> {
    let node = Node::start()?;
    for isolation in Isolation::ALL {
        if Need::Isolation(isolation).lacking().is_none() {
            node.run(isolation, &[], &["out", "x"])?.success()?;
        }
    }
    node.kill()?;
    wait::until("nothing runs any more", || Ok(leftovers::processes(node.root()).is_empty()))?;
    leftovers::none(node.root())?;
    node.wake()?;
    node.close()
}
