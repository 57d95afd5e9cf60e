//! Groups that systemd makes and owns, for `--systemd-cgroup`: a transient scope below a slice, delegated to us.
//!
//! The order of calls:
//! 1. [`Unit::parse`] the specification's `cgroupsPath`, `slice:prefix:name`.
//! 2. [`start`] the scope before the plan is prepared. systemd makes no scope without a process, and moves it in by
//!    `cgroup.procs`, which is slow (FLOORS); so a process of ours that only waits holds the scope open.
//! 3. Lower and execute the plan with [`Scope::group`] as its group. The group is there, the limits are written into it,
//!    and the child is born in it, as in any other.
//! 4. [`Scope::let_go`] once the child is created: the scope now lives as long as the container does.
//! 5. [`update`] beside [`super::update`]: systemd writes what it knows again when it reloads, so it must know the same.
//! 6. [`super::kill_all`], then [`stop`] at the end. systemd removes the group; a claim that finds it gone is content.
//!
//! Device rules are no property of the scope: our program is on the group beside whatever systemd attaches, and all must
//! agree. Only pure v2: with v1 systemd follows a hierarchy of its own, and knows v1 no more since version 258.

use std::io;
use std::os::fd::OwnedFd;

use oci_spec::runtime::LinuxResources;
use rustix::pipe::{PipeFlags, pipe_with};

use super::Layout;
use crate::error::{Error, Result};
use crate::sys;

mod bus;
mod message;
mod properties;
mod unit;

use bus::Bus;
use message::Value;
pub use unit::Unit;

/// A scope with a process of ours in it.
#[derive(Debug)]
pub struct Scope {
    group: String,
    /// The process ends when this does.
    _holder: OwnedFd,
}

impl Scope {
    /// Below the hierarchy's root, such as `system.slice/proa-linux-c.scope`.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Lets the scope live from what else is in it by now.
    pub fn let_go(self) {}
}

/// Has systemd make the scope with `resources`. The caller must be single-threaded, since the holder is a copy of it.
///
/// # Errors
/// `Lacks` without systemd or with cgroups of v1; systemd's own words when it refuses.
pub fn start(unit: &Unit, layout: &Layout, resources: Option<&LinuxResources>) -> Result<Scope> {
    if layout.name() != "v2" {
        return Err(Error::Lacks(format!("`--systemd-cgroup` needs cgroups v2 alone, and here is {}", layout.name())));
    }
    let mut bus = Bus::connect()?;
    let (pid, holder) = hold().map_err(|source| failed("hold its process", unit, source))?;
    let mut properties = vec![
        ("Description", Value::Text(format!("container {}", unit.id))),
        ("Slice", Value::Text(unit.slice.clone())),
        ("PIDs", Value::Numbers(vec![pid])),
        ("Delegate", Value::Flag(true)),
        ("DefaultDependencies", Value::Flag(false)),
        // What failed stays in nobody's way.
        ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
        ("MemoryAccounting", Value::Flag(true)),
        ("CPUAccounting", Value::Flag(true)),
        ("IOAccounting", Value::Flag(true)),
        ("TasksAccounting", Value::Flag(true)),
    ];
    properties.extend(properties::of(resources)?);
    bus.start_scope(&unit.scope, &properties).map_err(|source| failed("start", unit, source))?;
    let group = bus.control_group(&unit.scope).map_err(|source| failed("find the group of", unit, source))?;
    Ok(Scope { group: group.trim_start_matches('/').to_owned(), _holder: holder })
}

/// Tells systemd the new bounds.
///
/// # Errors
/// As [`start`].
pub fn update(unit: &Unit, resources: &LinuxResources) -> Result<()> {
    let properties = properties::of(Some(resources))?;
    if properties.is_empty() {
        return Ok(());
    }
    let set = Bus::connect()?.set_properties(&unit.scope, &properties);
    set.map_err(|source| failed("set properties of", unit, source))
}

/// Ends the scope; one that is gone already is as good.
///
/// # Errors
/// As [`start`].
pub fn stop(unit: &Unit) -> Result<()> {
    Bus::connect()?.stop(&unit.scope).map_err(|source| failed("stop", unit, source))
}

fn failed(verb: &'static str, unit: &Unit, source: io::Error) -> Error {
    Error::Systemd { verb, unit: unit.scope.clone(), source }
}

/// A process that does nothing until the other end of its pipe closes, if only because its parent died.
fn hold() -> io::Result<(u32, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    match sys::fork()? {
        None => {
            drop(write);
            // The one byte never comes.
            let ended = rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut [0; 1]));
            sys::exit_now(i32::from(ended.is_err()))
        }
        Some(pid) => Ok((pid.as_raw_nonzero().get().unsigned_abs(), write)),
    }
}
