//! A container's files: volumes, scratch space, what is read-only and what is masked.

use std::fs;

use anyhow::{Result, ensure};

use crate::Case;
use crate::engine::Engine;

pub(crate) const CASES: [Case<Engine>; 4] = [
    ("volumes, writable and not", volumes),
    ("a read-only root with scratch space", read_only),
    ("kernel files are masked or read-only, unless privileged", masked),
    ("shared memory and message queues", shared_memory),
];

fn volumes(engine: &Engine) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("proa-test-volume-").tempdir()?;
    fs::write(folder.path().join("in"), "cargo\n")?;
    let open = format!("{}:/open", folder.path().display());
    let closed = format!("{}:/closed:ro", folder.path().display());
    let file = format!("type=bind,source={},target=/etc/one,readonly", folder.path().join("in").display());
    let script = "cat /open/in /closed/in /etc/one; echo kept > /open/out; touch /closed/no || touch /etc/one";
    let output = engine.run(&["-v", &open, "-v", &closed, "--mount", &file], &["sh", "-c", script])?;
    ensure!(output.code == Some(1) && output.out == "cargo\ncargo\ncargo\n", "{output}");
    ensure!(output.err.matches("Read-only file system").count() == 2, "{output}");
    ensure!(fs::read_to_string(folder.path().join("out"))? == "kept\n");
    Ok(())
}

fn read_only(engine: &Engine) -> Result<()> {
    let options = ["--read-only", "--tmpfs", "/scratch:rw,size=1m,mode=1777", "--workdir", "/var"];
    let script = "pwd; touch /made; echo kept > /scratch/made && cat /scratch/made; \
                  busybox dd if=/dev/zero of=/scratch/big bs=1M count=2 2>&1 | grep -c 'No space'";
    let output = engine.run(&options, &["sh", "-c", script])?;
    ensure!(output.out == "/var\nkept\n1\n" && output.err.contains("Read-only file system"), "{output}");
    Ok(())
}

fn masked(engine: &Engine) -> Result<()> {
    let script = "wc -c < /proc/timer_list; ls /sys/firmware | wc -l; \
                  echo 0 > /proc/sys/vm/swappiness; mkdir /sys/kernel/made; \
                  for group in /sys/fs/cgroup/*/; do mkdir $group/made; done";
    let output = engine.run(&[], &["sh", "-c", script])?;
    ensure!(output.code == Some(1) && output.out == "0\n0\n", "{output}");
    ensure!(output.err.matches("Read-only file system").count() > 2, "{output}");
    let script =
        "grep -c . /proc/timer_list > /dev/null && echo shown; test -w /proc/sys/vm/swappiness && echo writable";
    let output = engine.run(&["--privileged"], &["sh", "-c", script])?.text()?;
    ensure!(output == "shown\nwritable", "{output}");
    Ok(())
}

fn shared_memory(engine: &Engine) -> Result<()> {
    let script = "grep -c ' /dev/shm tmpfs' /proc/mounts; grep -c ' /dev/mqueue mqueue' /proc/mounts; \
                  grep ' /dev/shm ' /proc/mounts | grep -c size=2048k; touch /dev/shm/a /dev/mqueue/a && echo made";
    let output = engine.run(&["--shm-size", "2m"], &["sh", "-c", script])?.text()?;
    ensure!(output == "1\n1\n1\nmade", "{output}");
    Ok(())
}
