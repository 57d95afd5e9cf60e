//! OCI resources as values of cgroup files, v1 or v2: a file below for each controller. Pure.

use oci_spec::runtime::LinuxResources;

use super::setting::Setting;
use super::{Hierarchy, Layout, devices};
use crate::error::{Error, Result};

mod cpu;
mod hugetlb;
mod io;
mod memory;
mod network;
mod rdma;
#[cfg(test)]
mod tests;
mod unified;

pub(super) use cpu::weight as cpu_weight;
pub(super) use io::weight as io_weight;
pub(super) use memory::swap_alone;

/// A group to make in one hierarchy: its files and values, in the order they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound<'a> {
    pub(crate) hierarchy: &'a Hierarchy,
    pub(crate) settings: Vec<Setting>,
}

/// What to make where, for `resources`. In the hierarchies of memory, pids, cpu and devices a group is always made: they
/// measure, and by them its members are found. In the others only what is bounded has one, since each costs a start.
///
/// # Errors
/// `Lacks` when a limit is asked for that cannot be held here, by its field.
pub(crate) fn lower<'a>(layout: &'a Layout, resources: Option<&LinuxResources>) -> Result<Vec<Bound<'a>>> {
    let nothing = LinuxResources::default();
    let asked = resources.unwrap_or(&nothing);
    let mut bounds = Bounds { layout, all: Vec::new() };
    let has_v2 = |controller: &str| layout.with(controller).is_some_and(|hierarchy| hierarchy.unified);

    let memory = asked.memory().as_ref().map(|memory| memory::settings(memory, has_v2("memory")));
    bounds.put("memory", "memory", Always::Made, memory.transpose()?.unwrap_or_default())?;
    let pids = asked.pids().as_ref().map(|pids| pids.limit()).filter(|limit| *limit != 0);
    let pids = pids.map(|limit| Setting::new("pids.max", number_or_max(limit)).passed_if(limit < 0));
    bounds.put("pids", "pids", Always::Made, pids.into_iter().collect())?;
    let cpu = asked.cpu().as_ref();
    let settings = cpu.map(|cpu| cpu::settings(cpu, has_v2("cpu"))).transpose()?.unwrap_or_default();
    bounds.put("cpu", "cpu", Always::Made, settings)?;
    if !has_v2("cpu") {
        bounds.put("cpuacct", "cpu", Always::Made, Vec::new())?;
    }
    // Only v1 has this controller; for v2 see [`device_program`].
    if layout.with("devices").is_some() {
        bounds.put("devices", "devices", Always::Made, devices::settings(asked.devices().as_ref())?)?;
    }
    bounds.put("cpuset", "cpu.cpus", Always::IfBound, cpu.map(cpu::sets).unwrap_or_default())?;
    let io = if layout.with("blkio").is_some() { "blkio" } else { "io" };
    let settings = asked.block_io().as_ref().map(|asked| io::settings(asked, io == "io"));
    bounds.put(io, "blockIO", Always::IfBound, settings.transpose()?.unwrap_or_default())?;
    let huge = hugetlb::settings(asked.hugepage_limits().as_deref().unwrap_or_default(), has_v2("hugetlb"))?;
    bounds.put("hugetlb", "hugepageLimits", Always::IfBound, huge)?;
    if let Some(network) = asked.network() {
        bounds.put("net_cls", "network.classID", Always::IfBound, network::class(network))?;
        bounds.put("net_prio", "network.priorities", Always::IfBound, network::priorities(network)?)?;
    }
    bounds.put("rdma", "rdma", Always::IfBound, asked.rdma().as_ref().map(rdma::settings).unwrap_or_default())?;
    for (controller, setting) in asked.unified().as_ref().map(unified::settings).transpose()?.unwrap_or_default() {
        if !unified::can_hold(layout, &controller) {
            let file = setting.file;
            return Err(Error::Lacks(format!(
                "`linux.resources.unified`: `{file}` needs the controller `{controller}` of cgroups v2, which is not here"
            )));
        }
        bounds.put_unified(setting);
    }
    Ok(bounds.all)
}

/// What does for a group of v2 what the controller of v1 does, where there is no such controller.
pub(crate) fn device_program(layout: &Layout, resources: Option<&LinuxResources>) -> Option<Vec<u64>> {
    let rules = devices::rules(resources.and_then(|all| all.devices().as_ref()));
    layout.with("devices").is_none().then(|| devices::program(&rules))
}

/// When a hierarchy has a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Always {
    Made,
    IfBound,
}

struct Bounds<'a> {
    layout: &'a Layout,
    all: Vec<Bound<'a>>,
}

impl<'a> Bounds<'a> {
    fn put(&mut self, controller: &str, field: &str, always: Always, settings: Vec<Setting>) -> Result<()> {
        if settings.is_empty() && always == Always::IfBound {
            return Ok(());
        }
        let Some(hierarchy) = self.layout.with(controller) else {
            // What bounds nothing holds without a controller too.
            if settings.iter().all(|setting| setting.missing == super::Missing::Passed) {
                return Ok(());
            }
            return Err(Error::Lacks(format!(
                "`linux.resources.{field}`: no cgroup of the controller `{controller}` can be made here by this user"
            )));
        };
        self.put_in(hierarchy, settings);
        Ok(())
    }

    fn put_unified(&mut self, setting: Setting) {
        if let Some(hierarchy) = self.layout.hierarchies.iter().find(|one| one.unified && one.writable) {
            self.put_in(hierarchy, vec![setting]);
        }
    }

    fn put_in(&mut self, hierarchy: &'a Hierarchy, settings: Vec<Setting>) {
        match self.all.iter_mut().find(|bound| bound.hierarchy.mount == hierarchy.mount) {
            Some(bound) => bound.settings.extend(settings),
            None => self.all.push(Bound { hierarchy, settings }),
        }
    }
}

/// As v2 and the pids controller write it: a negative number is no bound.
fn number_or_max(number: i64) -> String {
    if number < 0 { "max".to_owned() } else { number.to_string() }
}

fn refused<T>(field: &str, why: &str) -> Result<T> {
    Err(Error::Plan(format!("`linux.resources.{field}`: {why}")))
}
