//! podman: no daemon, a monitor (conmon) for each container; and what only podman offers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::{Engine, Kind, runtime};
use crate::{Case, command, wait};

/// The cgroup below which its containers are.
pub(crate) const PARENT: &str = "proa-test-podman";

/// What every container is given. Without CAP_SYS_RESOURCE nobody can raise limits as podman does by default, and
/// podman 4.3 does so even with `--ulimit host`; low ones can be had everywhere.
pub(crate) const OPTIONS: [&str; 8] = [
    "--network",
    "none",
    "--ulimit",
    "nofile=1000:1000",
    "--ulimit",
    "nproc=10000:10000",
    "--cgroup-parent",
    "/proa-test-podman",
];

pub(crate) const CASES: [Case<Engine>; 5] = [
    ("a user namespace of the user's own ranges", own_ranges),
    ("hooks are run, each with the state on its input", hooks),
    ("a hook that fails ends what it was to prepare", failing_hook),
    ("descriptors are passed on", descriptors),
    ("events tell a container's life", events),
];

/// podman with folders and a cgroup of its own.
pub(crate) fn command(folder: &Path) -> Result<Command> {
    let mut podman = command::program("podman")?;
    podman.arg("--root").arg(folder.join("storage")).arg("--runroot").arg(folder.join("run"));
    podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
    podman.arg("--tmpdir").arg(folder.join("tmp")).arg("--runtime").arg(runtime());
    Ok(podman)
}

/// Where the runtime keeps its state: its own default, since podman cleans up after a container without the flags that
/// it was started with.
pub(crate) fn state() -> PathBuf {
    Path::new("/run").join(runtime().file_name().unwrap_or_default())
}

fn own_ranges(_: &Engine) -> Result<()> {
    // Of its own: podman opens its storage to others only as long as nobody else uses it without a map.
    let podman = &Engine::start(Kind::Podman)?;
    let maps = ["--uidmap", "0:100000:5000", "--gidmap", "0:200000:5000"];
    let shown = podman.run(&maps, &["sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u"])?.text()?;
    let words: Vec<&str> = shown.split_whitespace().collect();
    ensure!(words == ["0", "100000", "5000", "0", "200000", "5000", "0"], "the maps: {words:?}");
    let folder = podman.path().join("mapped");
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
    let volume = format!("{}:/out", folder.display());
    podman.run(&[&maps[..], &["-v", &volume]].concat(), &["touch", "/out/file"])?.text()?;
    let owner = fs::metadata(folder.join("file"))?;
    ensure!((owner.uid(), owner.gid()) == (100_000, 200_000), "the owner: {} {}", owner.uid(), owner.gid());
    let guest = podman.detached(&maps, &["sleep", "1000"])?;
    let inside = guest.exec(&[], &["sh", "-c", "cat /proc/self/uid_map; hostname"])?.text()?;
    ensure!(inside.contains("100000"), "exec joins the user namespace: {inside}");
    drop(guest);
    podman.end()
}

/// A folder of hooks: each writes its name and what it read.
fn hooks_folder(podman: &Engine, name: &str, stages: &[&str], script: &str) -> Result<(PathBuf, PathBuf)> {
    let folder = podman.path().join(name);
    fs::create_dir(&folder)?;
    let told = folder.join("told");
    let hook = folder.join("hook.sh");
    fs::write(&hook, format!("#!/bin/sh\n{}\n", script.replace("TOLD", &told.to_string_lossy())))?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
    for stage in stages {
        let hook = serde_json::json!({
            "version": "1.0.0",
            "hook": { "path": hook, "args": ["hook.sh", stage], "env": [format!("STAGE={stage}")] },
            "when": { "always": true },
            "stages": [stage],
        });
        fs::write(folder.join(format!("{stage}.json")), serde_json::to_vec(&hook)?)?;
    }
    Ok((folder, told))
}

fn hooks(podman: &Engine) -> Result<()> {
    let stages = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    // createContainer runs in the container's mount namespace, before the root is changed: the same file is there.
    let (folder, told) = hooks_folder(podman, "hooks", &stages, "{ echo \"$1 $STAGE\"; cat; echo; } >>TOLD")?;
    let mut line = podman.command()?;
    line.arg("--hooks-dir").arg(&folder).args(podman.words(&["run", "--rm"], &[], &["echo", "ahoy"]));
    let said = command::run(&line)?.text()?;
    ensure!(said == "ahoy", "the container's own output: {said}");
    wait::until("the last hook has written", || Ok(fs::read_to_string(&told)?.contains("poststop poststop")))?;
    let told = fs::read_to_string(&told)?;
    let names: Vec<&str> = told.lines().filter_map(|line| line.split_once(' ')).map(|(name, _)| name).collect();
    let order: Vec<&str> = names.into_iter().filter(|name| stages.contains(name)).collect();
    ensure!(order == stages, "the order of hooks: {order:?}\n{told}");
    for (stage, status) in [("prestart", "creat"), ("createRuntime", "creat"), ("poststop", "stopped")] {
        let state = told.split_once(&format!("{stage} {stage}\n")).map_or("", |(_, rest)| rest);
        let state: serde_json::Value =
            serde_json::Deserializer::from_str(state).into_iter().next().transpose()?.unwrap_or_default();
        let told = state["status"].as_str().unwrap_or_default();
        ensure!(told.starts_with(status), "the state a {stage} hook reads: {state}");
        ensure!(state["id"].as_str().is_some_and(|id| id.len() == 64), "its id: {state}");
        ensure!(state["bundle"].as_str().is_some(), "its bundle: {state}");
    }
    Ok(())
}

fn failing_hook(podman: &Engine) -> Result<()> {
    for (stage, name) in [("createRuntime", "failing-early"), ("createContainer", "failing-later")] {
        let (folder, _) = hooks_folder(podman, name, &[stage], "echo the anchor is stuck >&2; exit 4")?;
        let mut line = podman.command()?;
        line.arg("--hooks-dir").arg(&folder).args(podman.words(&["run", "--rm"], &[], &["echo", "ahoy"]));
        let output = command::run(&line)?;
        ensure!(output.code != Some(0) && !output.out.contains("ahoy"), "a failed {stage} hook: {output}");
        ensure!(output.err.contains("hook"), "the reason: {output}");
    }
    Ok(())
}

fn descriptors(podman: &Engine) -> Result<()> {
    let line = podman.command()?;
    let words: Vec<_> = line.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let run = podman.words(&["run", "--rm", "--preserve-fds", "1"], &[], &["sh", "-c", "echo aboard >&3"]);
    let told = podman.path().join("descriptor");
    let mut shell = Command::new("sh");
    shell.args(["-c", "told=$1; shift; exec 3>$told; exec \"$@\"", "sh"]).arg(&told);
    shell.arg(line.get_program()).args(words).args(run);
    command::run(&shell)?.text()?;
    let told = fs::read_to_string(told)?;
    ensure!(told == "aboard\n", "what was written to descriptor 3: {told}");
    Ok(())
}

fn events(podman: &Engine) -> Result<()> {
    podman.run(&["--name", "eventful"], &["true"])?.text()?;
    let filter = ["events", "--stream=false", "--filter", "container=eventful", "--format", "{{.Status}}"];
    let told = podman.ask(&filter)?.text()?;
    let mut rest = told.lines();
    for event in ["create", "start", "died", "remove"] {
        ensure!(rest.any(|line| line == event), "no `{event}` in its place: {told}");
    }
    Ok(())
}
