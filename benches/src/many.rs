//! Many containers at once: the wall time of each, and that none is lost and nothing left.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::peers::runtime::Runtime;

/// How long `runs` containers take, `parallel` at a time; taken in turns of a tenth, so that all meet the same machine.
///
/// # Errors
/// When one of them fails or something is left behind.
pub fn together(runtimes: &[Runtime], bundle: &Path, runs: usize, parallel: usize) -> Result<Vec<Duration>> {
    let before = machine()?;
    let mut took = vec![Duration::ZERO; runtimes.len()];
    for turn in 0..10 {
        for (runtime, took) in runtimes.iter().zip(&mut took) {
            *took += burst(runtime, bundle, runs / 10, parallel, turn)?;
        }
    }
    for runtime in runtimes {
        ensure!(runtime.left()? == 0, "{} left state behind", runtime.version);
    }
    let after = machine()?;
    ensure!(before == after, "mounts and cgroups before: {before:?}, and after: {after:?}");
    Ok(took)
}

fn burst(runtime: &Runtime, bundle: &Path, runs: usize, parallel: usize, turn: usize) -> Result<Duration> {
    // A command is made by one thread, since the runtime's state folder is counted by its owners there.
    let commands = (0..runs).map(|run| {
        let mut command = runtime.command(bundle, &format!("bench-many-{}-{turn}-{run}", std::process::id()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    });
    let commands = Mutex::new(commands.collect::<Vec<_>>());
    let done = AtomicUsize::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        let one = || -> Result<()> {
            loop {
                let Some(mut command) = commands.lock().expect("nobody panics with it").pop() else { return Ok(()) };
                let output = command.output().context("run a runtime")?;
                ensure!(output.status.success(), "{:?}: {}", command, String::from_utf8_lossy(&output.stderr).trim());
                done.fetch_add(1, Ordering::Relaxed);
            }
        };
        let all: Vec<_> = (0..parallel).map(|_| scope.spawn(one)).collect();
        all.into_iter().try_for_each(|thread| thread.join().expect("a thread returns its failure"))
    })?;
    let took = begun.elapsed();
    ensure!(done.into_inner() == runs, "{} lost a container", runtime.version);
    Ok(took)
}

/// The mounts of this namespace, and the cgroups that this process's containers could have left.
fn machine() -> Result<(usize, usize)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?.lines().count();
    let word = format!("bench-many-{}-", std::process::id());
    Ok((mounts, groups(Path::new("/sys/fs/cgroup"), &word)))
}

fn groups(folder: &Path, word: &str) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .map(|entry| usize::from(entry.file_name().to_string_lossy().contains(word)) + groups(&entry.path(), word))
        .sum()
}
