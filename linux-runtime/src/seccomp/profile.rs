//! A filter of the OCI runtime specification (`linux.seccomp`), lowered as runc and libseccomp lower it, so that profiles
//! written for them mean the same here.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};

use super::abi::Abi;
use super::{Operator, Policy, Rule, Section, Test, Verdict, compile, errno, multiplexed, permits, table};
use crate::error::{Error, Result};
use crate::sys::Instruction;

/// What is loaded.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(crate) flags: u64,
    /// Somebody answers for some calls, and is given a descriptor to do so.
    pub(crate) listener: bool,
}

/// Whether a filter allows whatever is asked, which is to say that there is none.
pub(crate) fn allows_everything(seccomp: &LinuxSeccomp) -> bool {
    seccomp.default_action() == LinuxSeccompAction::ScmpActAllow && seccomp.syscalls().iter().flatten().next().is_none()
}

/// Names that an ABI does not have are passed over: profiles name calls of every architecture and every kernel. So are
/// architectures that no program can call this kernel by.
///
/// # Errors
/// `Plan` for what contradicts the specification, or cannot be loaded.
pub(crate) fn lower(seccomp: &LinuxSeccomp) -> Result<Profile> {
    let default = verdict(seccomp.default_action(), seccomp.default_errno_ret())?;
    let entries = entries(seccomp, default)?;
    let mut sections = Vec::new();
    for abi in architectures(seccomp) {
        sections.push(section(abi, &entries, default)?);
    }
    let listener = listener(seccomp, &sections)?;
    // Killed whole: a thread alone would leave its program with locks that nobody unlocks. libseccomp kills the thread.
    let foreign = libc::SECCOMP_RET_KILL_PROCESS;
    let program = compile::compile(&Policy { sections, foreign })?;
    Ok(Profile { program, flags: flags(seccomp, listener)?, listener })
}

/// The native ABI, which is always meant, and what is listed.
pub(super) fn architectures(seccomp: &LinuxSeccomp) -> Vec<Abi> {
    let listed = seccomp.architectures().iter().flatten().filter_map(|arch| Abi::named(*arch));
    let mut all: Vec<Abi> = [Abi::NATIVE].into_iter().chain(listed).collect();
    all.sort_by_key(|abi| (*abi != Abi::NATIVE, *abi));
    all.dedup();
    all
}

/// A rule of the specification, read.
struct Entry<'a> {
    names: &'a [String],
    /// Each of these is a clause of its own.
    clauses: Vec<Vec<Test>>,
    verdict: Verdict,
}

/// Rules that say what the default says have no clauses, so that they do not stand in the way of others.
fn entries(seccomp: &LinuxSeccomp, default: Verdict) -> Result<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    for entry in seccomp.syscalls().iter().flatten() {
        let verdict = verdict(entry.action(), entry.errno_ret())?;
        if entry.names().iter().any(String::is_empty) {
            return Err(Error::Plan("`linux.seccomp.syscalls` has an empty name".into()));
        }
        let clauses = clauses(entry)?;
        let clauses = if verdict == default { Vec::new() } else { clauses };
        entries.push(Entry { names: entry.names(), clauses, verdict });
    }
    Ok(entries)
}

/// All tests of a rule must hold. Where two look at the same argument, each is a clause of its own, as runc has it: rules
/// were written that mean "one of these values".
fn clauses(entry: &LinuxSyscall) -> Result<Vec<Vec<Test>>> {
    let tests = entry.args().iter().flatten().map(test).collect::<Result<Vec<Test>>>()?;
    let mut arguments: Vec<usize> = tests.iter().map(|test| test.argument).collect();
    arguments.sort_unstable();
    let apart = arguments.windows(2).any(|pair| pair[0] == pair[1]);
    // A test of no bit asks nothing.
    let asks = |test: &Test| test.operator != Operator::Masked(0) || test.value != 0;
    let clause = |tests: &[Test]| tests.iter().copied().filter(asks).collect();
    Ok(if apart { tests.chunks(1).map(clause).collect() } else { vec![clause(&tests)] })
}

fn section(abi: Abi, entries: &[Entry<'_>], default: Verdict) -> Result<Section> {
    let mut section = Section { last: 0, newer: default, ..Section::new(abi, default) };
    for Entry { names, clauses, verdict } in entries {
        for name in names.iter() {
            let number = table::number(name, abi);
            section.last = section.last.max(number.unwrap_or(0));
            for tests in clauses {
                section.add((name, number), tests, *verdict)?;
            }
        }
    }
    // As under runc, a call newer than any that the profile names is said not to be there, so that libc tries an older one:
    // the profile's author could not know it. Not where unknown calls are let through or watched.
    if !permits(default) && section.last != 0 {
        section.newer = errno(libc::ENOSYS);
    }
    Ok(section)
}

impl Section {
    fn add(&mut self, (name, number): (&str, Option<u32>), tests: &[Test], verdict: Verdict) -> Result<()> {
        if let Some(number) = number {
            self.rule(number).add(tests, verdict)?;
        }
        let behind = if self.abi == Abi::X86 { multiplexed::behind(name) } else { None };
        if let Some((outer, test)) = behind.filter(|_| multiplexed::counts(tests, verdict))
            && let Some(number) = table::number(outer, self.abi)
        {
            self.rule(number).add(&[test], verdict)?;
        }
        Ok(())
    }

    fn rule(&mut self, number: u32) -> &mut Rule {
        self.rules.entry(number).or_insert_with(|| Rule::always(self.known))
    }
}

fn verdict(action: LinuxSeccompAction, number: Option<u32>) -> Result<Verdict> {
    use LinuxSeccompAction as Action;
    let bare = match action {
        Action::ScmpActErrno => return data(action, libc::SECCOMP_RET_ERRNO, number, MOST_ERRNO),
        Action::ScmpActTrace => return data(action, libc::SECCOMP_RET_TRACE, number, libc::SECCOMP_RET_DATA),
        Action::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
        Action::ScmpActKill | Action::ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::ScmpActKillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        Action::ScmpActLog => libc::SECCOMP_RET_LOG,
        Action::ScmpActNotify => libc::SECCOMP_RET_USER_NOTIF,
    };
    match number {
        None => Ok(bare),
        Some(_) => Err(Error::Plan(format!("`linux.seccomp`: `{action}` has no `errnoRet`"))),
    }
}

/// The kernel makes this of every greater error number (MAX_ERRNO).
const MOST_ERRNO: u32 = 4095;

fn data(action: LinuxSeccompAction, verdict: Verdict, number: Option<u32>, most: u32) -> Result<Verdict> {
    match number.unwrap_or(libc::EPERM as u32) {
        number if number <= most => Ok(verdict | number),
        number => {
            Err(Error::Plan(format!("`linux.seccomp`: `errnoRet` of `{action}` is {number}; {most} is the most")))
        }
    }
}

fn test(argument: &LinuxSeccompArg) -> Result<Test> {
    let operator = match argument.op() {
        LinuxSeccompOperator::ScmpCmpEq => Operator::Equal,
        LinuxSeccompOperator::ScmpCmpNe => Operator::NotEqual,
        LinuxSeccompOperator::ScmpCmpLt => Operator::Less,
        LinuxSeccompOperator::ScmpCmpLe => Operator::LessOrEqual,
        LinuxSeccompOperator::ScmpCmpGt => Operator::Greater,
        LinuxSeccompOperator::ScmpCmpGe => Operator::GreaterOrEqual,
        LinuxSeccompOperator::ScmpCmpMaskedEq => Operator::Masked(argument.value()),
    };
    let masked = matches!(operator, Operator::Masked(_));
    let value = if masked { argument.value_two().unwrap_or(0) } else { argument.value() };
    if argument.index() > 5 {
        return Err(Error::Plan(format!("seccomp argument {} does not exist", argument.index())));
    }
    Ok(Test { argument: argument.index(), operator, value })
}

fn flags(seccomp: &LinuxSeccomp, listener: bool) -> Result<u64> {
    use LinuxSeccompFilterFlag as Flag;
    let mut flags = 0;
    for flag in seccomp.flags().iter().flatten() {
        flags |= match flag {
            // Every thread gets the filter: there is only one when it is loaded.
            Flag::SeccompFilterFlagTsync => 0,
            Flag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
            Flag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            // Without a listener the kernel refuses it.
            Flag::SeccompFilterFlagWaitKillableRecv if !listener => {
                return Err(Error::Plan(format!("`linux.seccomp.flags`: `{flag}` needs a rule of `SCMP_ACT_NOTIFY`")));
            }
            Flag::SeccompFilterFlagWaitKillableRecv => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        };
    }
    Ok(flags)
}

/// Whether anybody is asked, and whether it is known who. The process tells its maker of the listener's descriptor by
/// write(2) and waits by read(2), under the filter already: nobody could answer for the first, and nobody would for a read
/// that fails.
fn listener(seccomp: &LinuxSeccomp, sections: &[Section]) -> Result<bool> {
    let refused = |sentence: &str| Err(Error::Plan(format!("`linux.seccomp`: {sentence}")));
    let path = seccomp.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    if seccomp.listener_metadata().as_ref().is_some_and(|text| !text.is_empty()) && path.is_none() {
        return refused("`listenerMetadata` needs `listenerPath`");
    }
    if seccomp.default_action() == LinuxSeccompAction::ScmpActNotify {
        return refused("`SCMP_ACT_NOTIFY` cannot be the default action");
    }
    let asks = |verdict| verdict == libc::SECCOMP_RET_USER_NOTIF;
    let rules = || sections.iter().flat_map(|section| section.rules.values());
    if !rules().flat_map(Rule::verdicts).any(asks) {
        return Ok(false);
    }
    if path.is_none() {
        return refused("`SCMP_ACT_NOTIFY` needs `listenerPath`");
    }
    let native = sections.iter().find(|section| section.abi == Abi::NATIVE);
    let all = |name, fits: fn(Verdict) -> bool| {
        let number = table::number(name, Abi::NATIVE);
        native.zip(number).is_some_and(|(section, number)| section.rule_of(number).verdicts().all(fits))
    };
    if !all("write", permits_untraced) {
        return refused("with `SCMP_ACT_NOTIFY` the call `write` must be allowed: it tells of the listener");
    }
    if !all("read", |verdict| permits_untraced(verdict) || verdict == libc::SECCOMP_RET_USER_NOTIF) {
        return refused(
            "with `SCMP_ACT_NOTIFY` the call `read` must be allowed or notified: it waits for the listener",
        );
    }
    Ok(true)
}

/// Without a tracer, SECCOMP_RET_TRACE fails with ENOSYS.
fn permits_untraced(verdict: Verdict) -> bool {
    [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG].contains(&verdict)
}

#[cfg(test)]
mod tests;
