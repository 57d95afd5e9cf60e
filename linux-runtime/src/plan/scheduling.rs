//! When and where a process runs: scheduler, I/O priority, CPUs, memory's nodes, and which kernel it takes this one for.

use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler,
};

use super::Draft;
use crate::error::{Error, Result};
use crate::step::{Action, Actor, Scheduling};

/// The kernel's own bounds of CPUs (NR_CPUS) and nodes (MAX_NUMNODES).
const CPUS: usize = 8192;
const NODES: usize = 1024;

/// linux/personality.h; that of this kernel is 0.
const PER_LINUX32: u32 = 8;

/// linux/ioprio.h.
const CLASS_SHIFT: u16 = 13;

/// linux/mempolicy.h.
const STATIC_NODES: u32 = 1 << 15;
const RELATIVE_NODES: u32 = 1 << 14;
const NUMA_BALANCING: u32 = 1 << 13;

impl Draft {
    /// What the container has for all its processes.
    pub(super) fn surroundings(&mut self, linux: &Linux) -> Result<()> {
        if let Some(personality) = linux.personality() {
            if let Some(flag) = personality.flags().iter().flatten().next() {
                // config-linux.md, "Personality": none is supported yet.
                return Err(Error::Plan(format!("`linux.personality.flags` `{flag}` is not known")));
            }
            let domain = match personality.domain() {
                LinuxPersonalityDomain::PerLinux => 0,
                LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
            };
            self.push(Actor::Child, Action::Personality { domain });
        }
        if let Some(policy) = linux.memory_policy() {
            let action = memory_policy(policy)?;
            self.push(Actor::Child, action);
        }
        let cpu = linux.resources().as_ref().and_then(|resources| resources.cpu().as_ref());
        if cpu.is_some_and(|cpu| cpu.cpus().as_ref().is_some_and(|cpus| !cpus.is_empty())) {
            self.push(Actor::Child, every_cpu());
        }
        Ok(())
    }

    /// What a process has of its own, for which it may need more rights than it keeps.
    pub(super) fn scheduling(&mut self, process: &Process, first: bool) -> Result<()> {
        if let Some(scheduler) = process.scheduler() {
            let action = Action::Scheduler(scheduling(scheduler)?);
            self.push(Actor::Child, action);
        }
        if let Some(priority) = process.io_priority() {
            let action = io_priority(priority)?;
            self.push(Actor::Child, action);
        }
        // config.md, "Linux Process": `execCPUAffinity` does not concern a container's first process.
        let affinity = process.exec_cpu_affinity().as_ref().filter(|_| !first);
        if let Some(cpus) = affinity.and_then(|affinity| affinity.cpu_affinity_final().as_deref()) {
            let cpus = bits("process.execCPUAffinity.final", cpus, CPUS)?;
            self.push(Actor::Child, Action::Affinity { cpus });
        }
        Ok(())
    }

    /// Where the helper of one more process runs until it is in the container's cgroup, and afterwards. The kernel keeps a
    /// narrower choice of the runtime's starter otherwise (cpusets(7), Linux 6.2).
    pub(super) fn affinity_on_the_way(&mut self, process: &Process, attach: impl FnOnce(&mut Draft)) -> Result<()> {
        if let Some(cpus) = process.exec_cpu_affinity().as_ref().and_then(|affinity| affinity.initial().as_deref()) {
            let cpus = bits("process.execCPUAffinity.initial", cpus, CPUS)?;
            self.push(Actor::Helper, Action::Affinity { cpus });
        }
        attach(self);
        if process.exec_cpu_affinity().is_none() {
            self.push(Actor::Helper, every_cpu());
        }
        Ok(())
    }
}

/// The kernel takes from it what the cpuset has.
fn every_cpu() -> Action {
    Action::Affinity { cpus: vec![u64::MAX; CPUS / 64] }
}

/// sched_setattr(2), whose manual says which value belongs to which policy.
fn scheduling(asked: &Scheduler) -> Result<Scheduling> {
    let refuse = |field: &str, what: &str| Err(Error::Plan(format!("`process.scheduler.{field}` {what}")));
    let policy = match asked.policy() {
        LinuxSchedulerPolicy::SchedOther => libc::SCHED_OTHER,
        LinuxSchedulerPolicy::SchedFifo => libc::SCHED_FIFO,
        LinuxSchedulerPolicy::SchedRr => libc::SCHED_RR,
        LinuxSchedulerPolicy::SchedBatch => libc::SCHED_BATCH,
        LinuxSchedulerPolicy::SchedIdle => libc::SCHED_IDLE,
        LinuxSchedulerPolicy::SchedDeadline => libc::SCHED_DEADLINE,
        LinuxSchedulerPolicy::SchedIso => return refuse("policy", "`SCHED_ISO` is reserved and in no kernel"),
    };
    let (nice, priority) = (asked.nice().unwrap_or(0), asked.priority().unwrap_or(0));
    if !(-20..=19).contains(&nice) {
        return refuse("nice", &format!("{nice} is not between -20 and 19"));
    }
    let real_time = [libc::SCHED_FIFO, libc::SCHED_RR].contains(&policy);
    if real_time && !(1..=99).contains(&priority) {
        return refuse("priority", &format!("{priority} is not between 1 and 99"));
    }
    if !real_time && priority != 0 {
        return refuse("priority", "is one of `SCHED_FIFO` and `SCHED_RR` alone");
    }
    let times = [asked.runtime(), asked.deadline(), asked.period()].map(|time| time.unwrap_or(0));
    if policy != libc::SCHED_DEADLINE && times != [0; 3] {
        return refuse("runtime", "as well as `deadline` and `period` are of `SCHED_DEADLINE` alone");
    }
    let flags = asked.flags().iter().flatten().map(|flag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => libc::SCHED_FLAG_RESET_ON_FORK,
        LinuxSchedulerFlag::SchedFlagReclaim => libc::SCHED_FLAG_RECLAIM,
        LinuxSchedulerFlag::SchedFlagDLOverrun => libc::SCHED_FLAG_DL_OVERRUN,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => libc::SCHED_FLAG_KEEP_POLICY,
        LinuxSchedulerFlag::SchedFlagKeepParams => libc::SCHED_FLAG_KEEP_PARAMS,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => libc::SCHED_FLAG_UTIL_CLAMP_MIN,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => libc::SCHED_FLAG_UTIL_CLAMP_MAX,
    });
    let flags = flags.fold(0, |all, one| all | one as u64);
    let [runtime, deadline, period] = times;
    Ok(Scheduling { policy: policy as u32, nice, priority: priority as u32, flags, runtime, deadline, period })
}

fn io_priority(asked: &LinuxIOPriority) -> Result<Action> {
    let class = match asked.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let priority = asked.priority();
    match u16::try_from(priority) {
        Ok(level) if level <= 7 => Ok(Action::IoPriority { value: class << CLASS_SHIFT | level }),
        _ => Err(Error::Plan(format!("`process.ioPriority.priority` {priority} is not between 0 and 7"))),
    }
}

/// set_mempolicy(2).
fn memory_policy(asked: &LinuxMemoryPolicy) -> Result<Action> {
    let mode = match asked.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = asked.flags().iter().flatten().map(|flag| match flag {
        MemoryPolicyFlagType::MpolFStaticNodes => STATIC_NODES,
        MemoryPolicyFlagType::MpolFRelativeNodes => RELATIVE_NODES,
        MemoryPolicyFlagType::MpolFNumaBalancing => NUMA_BALANCING,
    });
    let nodes = asked.nodes().as_deref().unwrap_or_default();
    let nodes = if nodes.is_empty() { Vec::new() } else { bits("linux.memoryPolicy.nodes", nodes, NODES)? };
    Ok(Action::MemoryPolicy { mode: flags.fold(mode, |all, one| all | one), nodes })
}

/// A list such as `0-3,7` as words of bits.
fn bits(field: &str, list: &str, bound: usize) -> Result<Vec<u64>> {
    let wrong = || Error::Plan(format!("`{field}` `{list}` is no list of numbers below {bound} and ranges of them"));
    let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number < bound).ok_or_else(wrong);
    let mut words = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (number(from)?, number(to)?);
        if from > to {
            return Err(wrong());
        }
        words.resize(words.len().max(to / 64 + 1), 0);
        (from..=to).for_each(|bit| words[bit / 64] |= 1 << (bit % 64));
    }
    Ok(words)
}
