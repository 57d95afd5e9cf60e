//! Limits, seen from inside and from outside, and felt.

use anyhow::{Result, ensure};

use crate::Case;
use crate::engine::{Engine, Kind};

pub(crate) const CASES: [Case<Engine>; 6] = [
    ("memory, processor and process limits are the cgroup's", shown),
    ("a limit can be changed while it runs", updated),
    ("too many processes are refused", processes),
    ("too much memory ends the container", out_of_memory),
    ("resource limits and the killer's preference", per_process),
    ("only the devices that were given can be opened", devices),
];

fn shown(engine: &Engine) -> Result<()> {
    let options =
        ["--memory", "48m", "--cpus", "0.5", "--cpu-shares", "512", "--pids-limit", "33", "--cpuset-cpus", "0"];
    let guest = engine.detached(&options, &["sleep", "1000"])?;
    ensure!(guest.limit("memory.limit_in_bytes", "memory.max")? == "50331648");
    ensure!(guest.limit("pids.max", "pids.max")? == "33");
    let quota = guest.limit("cpu.cfs_quota_us", "cpu.max")?;
    ensure!(["50000", "50000 100000"].contains(&quota.as_str()), "the quota: {quota}");
    let shares = guest.limit("cpu.shares", "cpu.weight")?;
    ensure!(["512", "20", "59"].contains(&shares.as_str()), "the shares: {shares}");
    let inside = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max; nproc";
    let inside = guest.exec(&[], &["sh", "-c", inside])?.text()?;
    ensure!(inside == "50331648\n1", "inside: {inside}");
    Ok(())
}

fn updated(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&["--memory", "48m", "--memory-swap", "48m"], &["sleep", "1000"])?;
    guest.ask("update", &["--memory", "64m", "--memory-swap", "64m", "--cpu-shares", "256"])?.text()?;
    ensure!(guest.limit("memory.limit_in_bytes", "memory.max")? == "67108864");
    guest.ask("update", &["--memory", "32m", "--memory-swap", "32m"])?.text()?;
    ensure!(guest.limit("memory.limit_in_bytes", "memory.max")? == "33554432");
    let shares = guest.limit("cpu.shares", "cpu.weight")?;
    ensure!(["256", "10", "35"].contains(&shares.as_str()), "the shares: {shares}");
    Ok(())
}

fn processes(engine: &Engine) -> Result<()> {
    let script = "for n in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo never";
    let output = engine.run(&["--pids-limit", "5"], &["sh", "-c", script])?;
    ensure!(output.code != Some(0) && !output.out.contains("never") && output.err.contains("fork"), "{output}");
    Ok(())
}

fn out_of_memory(engine: &Engine) -> Result<()> {
    let options = ["--memory", "16m", "--memory-swap", "16m"];
    let guest = engine.detached(&options, &["busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M"])?;
    ensure!(guest.status()? == "137");
    Ok(())
}

fn per_process(engine: &Engine) -> Result<()> {
    let options = ["--ulimit", "nofile=77:88", "--oom-score-adj", "500"];
    let script = "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj";
    // podman may be given each limit once only, and the suite gives this one.
    let options = if engine.kind == Kind::Podman { &options[2..] } else { &options[..] };
    let limits = if engine.kind == Kind::Podman { "1000\n1000" } else { "77\n88" };
    let output = engine.run(options, &["sh", "-c", script])?.text()?;
    ensure!(output == format!("{limits}\n500"), "{output}");
    Ok(())
}

fn devices(engine: &Engine) -> Result<()> {
    // 1:11 is the kernel's log, which no container is given.
    let script = "mknod /tmp/log c 1 11 && { head -c 1 /tmp/log && echo open; }; \
                  head -c 1 /dev/zero | wc -c; echo > /dev/filled || echo full";
    let output = engine.run(&["--cap-add", "mknod", "--device", "/dev/full:/dev/filled"], &["sh", "-c", script])?;
    ensure!(output.out == "1\nfull\n" && output.err.contains("not permitted"), "{output}");
    Ok(())
}
