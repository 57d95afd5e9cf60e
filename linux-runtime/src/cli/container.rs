//! What is kept of a container between verbs: a folder below the root directory.
//!
//! ```text
//! ROOT/ID/state.json    who it is: written once its process is known
//! ROOT/ID/config.json   the specification it was made from
//! ROOT/ID/start         the socket its process waits at; gone once it was started
//! ```
//! How it fares is not written down but asked of the kernel each time.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::Spec;
use proa_linux::cgroup::{self, Layout};
use proa_linux::{Facts, read_container};
use rustix::process::{Pid, PidfdFlags, geteuid, pidfd_open};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::arguments::Global;
use super::group::Group;

/// The socket's name in the container's folder.
pub(super) const START: &str = "start";
const STATE: &str = "state.json";
const CONFIG: &str = "config.json";

/// Longer ids make no folder names.
const LONGEST_ID: usize = 255;

/// A container by its id.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) folder: PathBuf,
    pub(super) identity: Identity,
}

/// What is written down of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) oci_version: String,
    pub(super) id: String,
    pub(super) pid: i32,
    /// Of the process, in clock ticks since the boot: a pid alone may be somebody else's later.
    pub(super) start_time: u64,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    /// RFC 3339.
    pub(super) created: String,
    pub(super) owner: String,
    pub(super) annotations: HashMap<String, String>,
    pub(super) group: Group,
    pub(super) user_namespace: bool,
    /// The session keyring's name, if it has one of its own.
    pub(super) keyring: Option<String>,
}

/// How it fares (runtime.md, "State").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// Where containers are kept.
pub(super) fn root(global: &Global) -> PathBuf {
    if let Some(root) = &global.root {
        return root.clone();
    }
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| is_ordinary());
    own.map_or_else(|| PathBuf::from("/run/proa-linux"), |run| PathBuf::from(run).join("proa-linux"))
}

/// Whether /run is not this user's: root of a user namespace is an ordinary user as well, unless it says that it is root
/// (containers in containers).
fn is_ordinary() -> bool {
    !geteuid().is_root() || Facts::in_user_namespace() && std::env::var_os("USER").is_none_or(|user| user != "root")
}

/// A folder for a new container.
pub(super) fn claim(global: &Global, id: &str) -> Result<PathBuf> {
    check_id(id)?;
    let root = root(global);
    fs::create_dir_all(&root).with_context(|| format!("make `{}`", root.display()))?;
    let folder = root.join(id);
    match fs::create_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("container with given ID already exists: `{id}`")
        }
        other => other.with_context(|| format!("make `{}`", folder.display()))?,
    }
    Ok(folder)
}

fn check_id(id: &str) -> Result<()> {
    if !is_id(id) {
        bail!("invalid id `{id}`: up to {LONGEST_ID} letters, digits and `_ . - +` make an id");
    }
    Ok(())
}

/// Whether it may name a folder.
pub(super) fn is_id(id: &str) -> bool {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-+".contains(&byte));
    plain && !["", ".", ".."].contains(&id) && id.len() <= LONGEST_ID
}

impl Container {
    /// The container of that id.
    pub(super) fn load(global: &Global, id: &str) -> Result<Container> {
        check_id(id)?;
        let folder = root(global).join(id);
        let path = folder.join(STATE);
        let text = match fs::read(&path) {
            // Engines look for these words.
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("container `{id}` does not exist"),
            other => other.with_context(|| format!("read `{}`", path.display()))?,
        };
        let identity = serde_json::from_slice(&text).with_context(|| format!("read `{}`", path.display()))?;
        Ok(Container { folder, identity })
    }

    /// Every container, by id; one that is just being made is not among them yet.
    pub(super) fn all(global: &Global) -> Result<Vec<Container>> {
        let root = root(global);
        let entries = match fs::read_dir(&root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("read `{}`", root.display()))?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut all: Vec<Container> = names.filter_map(|id| Container::load(global, &id).ok()).collect();
        all.sort_by(|one, other| one.identity.id.cmp(&other.identity.id));
        Ok(all)
    }

    /// Writes it down; nobody sees half of it.
    pub(super) fn save(&self, spec: &[u8]) -> Result<()> {
        self.replace(CONFIG, spec)?;
        self.replace(STATE, &serde_json::to_vec(&self.identity)?)
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let (path, aside) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
        fs::write(&aside, content)
            .and_then(|()| fs::rename(&aside, &path))
            .with_context(|| format!("write `{}`", path.display()))
    }

    /// The specification it was made from.
    pub(super) fn spec(&self) -> Result<Spec> {
        let path = self.folder.join(CONFIG);
        let what = || format!("read `{}`", path.display());
        // Who made the container was told of what is left out.
        let (spec, _) = read_container(&fs::read(&path).with_context(what)?).with_context(what)?;
        Ok(spec)
    }

    pub(super) fn status(&self, layout: &Layout) -> Status {
        if !is_alive(self.identity.pid, self.identity.start_time) {
            Status::Stopped
        } else if self.folder.join(START).exists() {
            Status::Created
        } else if cgroup::is_frozen(layout, &self.identity.group.path) {
            Status::Paused
        } else {
            Status::Running
        }
    }

    /// Its process, held so that it stays the same one; `None` when it has ended.
    pub(super) fn process(&self) -> Option<OwnedFd> {
        let held = pidfd_open(Pid::from_raw(self.identity.pid)?, PidfdFlags::empty()).ok()?;
        is_alive(self.identity.pid, self.identity.start_time).then_some(held)
    }

    /// The state as the specification has it, with what runc adds.
    pub(super) fn state(&self, status: &str) -> Value {
        let identity = &self.identity;
        // A process that has ended has no pid (runtime.md: required when created or running).
        let pid = if status == "stopped" { 0 } else { identity.pid };
        let mut state = json!({
            "ociVersion": identity.oci_version,
            "id": identity.id,
            "pid": pid,
            "status": status,
            "bundle": identity.bundle,
            "rootfs": identity.rootfs,
            "created": identity.created,
            "owner": identity.owner,
        });
        if !identity.annotations.is_empty() {
            state["annotations"] = json!(identity.annotations);
        }
        state
    }

    /// Forgets it.
    pub(super) fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("remove `{}`", self.folder.display()))
    }
}

/// The start time of a process in clock ticks since the boot, and whether it only waits to be reaped (proc_pid_stat(5)).
pub(super) fn started(pid: i32) -> Option<(u64, bool)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let dead = matches!(fields.next()?, "Z" | "X" | "x");
    Some((fields.nth(18)?.parse().ok()?, dead))
}

fn is_alive(pid: i32, start_time: u64) -> bool {
    started(pid).is_some_and(|(time, dead)| time == start_time && !dead)
}

/// Whose container it is: the name of this process's user, if it has one.
pub(super) fn owner() -> String {
    let uid = geteuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut names = users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    names.next().unwrap_or(uid)
}
