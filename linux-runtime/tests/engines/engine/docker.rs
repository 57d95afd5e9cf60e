//! dockerd with a containerd of its own: no network, no firewall, every path in one folder.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};

use super::{Engine, runtime};
use crate::{Case, command, left};

/// The cgroup below which its containers are.
pub(crate) const PARENT: &str = "proa-test-docker";

/// What every container is given.
pub(crate) const OPTIONS: [&str; 2] = ["--network", "none"];

/// Whose subordinate ids a remapped daemon gives its containers, and which ids those are.
const REMAPPED: &str = "nobody";
const RANGE: &str = "100000:65536";

pub(crate) const REMAPPED_CASES: [Case<Engine>; 2] =
    [("root inside is nobody outside", nobody), ("exec joins the user namespace", joined)];

/// Starts the daemon, which puts its containers in a user namespace if `remapped`.
pub(crate) fn start(folder: &Path, remapped: bool) -> Result<Child> {
    let log = File::create(folder.join("log"))?;
    let mut daemon = if remapped { with_subordinate_ids(folder)? } else { command::program("dockerd")? };
    daemon.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--config-file", "/dev/null"]);
    daemon.arg("--data-root").arg(folder.join("data")).arg("--exec-root").arg(folder.join("exec"));
    daemon.arg("--pidfile").arg(folder.join("pid")).arg("--host").arg(host(folder));
    daemon.args(["--storage-driver", "vfs", "--cgroup-parent", PARENT]);
    daemon.arg("--add-runtime").arg(format!("tested={}", runtime().display()));
    daemon.args(["--default-runtime", "tested"]);
    if remapped {
        daemon.arg("--userns-remap").arg(format!("{REMAPPED}:nogroup"));
    }
    Ok(daemon.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
}

/// The client on the daemon's socket.
pub(crate) fn command(folder: &Path) -> Result<Command> {
    let mut docker = command::program("docker")?;
    docker.env_remove("DOCKER_CONTEXT").env("DOCKER_CONFIG", folder.join("client")).arg("--host").arg(host(folder));
    Ok(docker)
}

/// The mount that dockerd makes of its own folder; it leaves it when it finds it busy.
pub(crate) fn unmount(folder: &Path) {
    let _ = rustix::mount::unmount(folder.join("data"), rustix::mount::UnmountFlags::DETACH);
}

/// Where the runtime keeps its state.
pub(crate) fn state(folder: &Path) -> PathBuf {
    folder.join("exec/runtime-runc/moby")
}

/// dockerd, to which alone the machine's lists of subordinate ids have one more line.
fn with_subordinate_ids(folder: &Path) -> Result<Command> {
    for list in ["subuid", "subgid"] {
        fs::write(folder.join(list), format!("{REMAPPED}:{RANGE}\n"))?;
    }
    let script =
        "mount --bind \"$0/subuid\" /etc/subuid && mount --bind \"$0/subgid\" /etc/subgid && exec dockerd \"$@\"";
    let mut daemon = command::program("unshare")?;
    daemon.args(["--mount", "sh", "-c", script]).arg(folder);
    Ok(daemon)
}

fn host(folder: &Path) -> String {
    format!("unix://{}", folder.join("docker.sock").display())
}

fn nobody(docker: &Engine) -> Result<()> {
    let guest = docker.detached(&[], &["sh", "-c", "cat /proc/self/uid_map; touch /made; id -u; sleep 1000"])?;
    guest.says("0\n")?;
    let map = guest.exec(&[], &["cat", "/proc/self/uid_map"])?.text()?;
    ensure!(map.split_whitespace().eq(["0", "100000", "65536"]), "the map: {map}");
    let pid = guest.field("{{.State.Pid}}")?;
    let owner = fs::metadata(format!("/proc/{pid}/root/made"))?;
    ensure!(owner.uid() == 100_000, "a file of root inside belongs to {} outside", owner.uid());
    ensure!(fs::metadata(format!("/proc/{pid}"))?.uid() == 100_000, "the process is nobody");
    let id = guest.id.clone();
    drop(guest);
    left::nothing(&id, &docker.state())
}

fn joined(docker: &Engine) -> Result<()> {
    let guest = docker.detached(&["--cap-drop", "all"], &["sleep", "1000"])?;
    let shown = guest.exec(&[], &["sh", "-c", "cat /proc/self/uid_map; grep CapEff /proc/self/status"])?.text()?;
    ensure!(shown.contains("100000") && shown.contains("0000000000000000"), "inside: {shown}");
    Ok(())
}
