//! What a guest may ask the kernel: rules by name, compiled to a binary tree of BPF beforehand (a linear filter costs
//! half a millisecond at every start, since the kernel runs it for each call number: FLOORS).

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};

use crate::error::{Error, Result};
use crate::sys::Instruction;

mod compile;
mod default;
mod table;

/// What the kernel does with a call: `SECCOMP_RET_*` with its data.
type Verdict = u32;

const ALLOW: Verdict = libc::SECCOMP_RET_ALLOW;

fn errno(number: i32) -> Verdict {
    libc::SECCOMP_RET_ERRNO | (number as u32 & libc::SECCOMP_RET_DATA)
}

/// One comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Test {
    argument: usize,
    operator: Operator,
    value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Equal after masking.
    Masked(u64),
}

/// What happens to one call: the first clause whose tests all hold, else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    clauses: Vec<(Vec<Test>, Verdict)>,
    otherwise: Verdict,
}

impl Rule {
    fn always(verdict: Verdict) -> Rule {
        Rule { clauses: Vec::new(), otherwise: verdict }
    }
}

/// A whole filter before it is compiled.
#[derive(Debug)]
struct Policy {
    rules: BTreeMap<u32, Rule>,
    /// For numbers without a rule that the table knows.
    known: Verdict,
    /// For numbers above the table: calls newer than this build.
    newer: Verdict,
    /// For calls of another architecture (32-bit, x32).
    foreign: Verdict,
}

/// Docker's defaults, tighter where common images still start; `kept` are the bounding capabilities, some of which
/// open the calls they govern.
pub(crate) fn default_filter(kept: u64) -> Result<Vec<Instruction>> {
    compile::compile(&default::policy(kept))
}

/// What a sandbox of our own code needs to say that it has been entered, and to end.
const REPORTING: [&str; 3] = ["write", "close", "exit_group"];

/// Only the calls named and [`REPORTING`]; everything else fails with EPERM (`clone3` with ENOSYS: libc then uses `clone`).
/// `clone` makes threads, neither processes nor namespaces: in a user namespace of its own an escaped guest would have
/// every capability over what it inherited.
///
/// # Errors
/// A name that this architecture does not have.
pub(crate) fn only(names: &[&str]) -> Result<Vec<Instruction>> {
    let mut rules = BTreeMap::new();
    for name in names.iter().chain(&REPORTING) {
        let number = table::number(name).ok_or_else(|| Error::Plan(format!("unknown system call `{name}`")))?;
        rules.insert(number, Rule::always(ALLOW));
    }
    let thread = libc::CLONE_THREAD as u64;
    if let Some(rule) = table::number("clone").and_then(|clone| rules.get_mut(&clone)) {
        let only_threads =
            Test { argument: 0, operator: Operator::Masked(default::NAMESPACES | thread), value: thread };
        *rule = Rule { clauses: vec![(vec![only_threads], ALLOW)], otherwise: errno(libc::EPERM) };
    }
    if let Some(clone3) = table::number("clone3") {
        rules.entry(clone3).or_insert_with(|| Rule::always(errno(libc::ENOSYS)));
    }
    let refused = errno(libc::EPERM);
    compile::compile(&Policy { rules, known: refused, newer: errno(libc::ENOSYS), foreign: refused })
}

/// A filter of the OCI runtime specification. Names this architecture does not have are passed over, as libseccomp's
/// users do: profiles name calls of every architecture.
///
/// # Errors
/// `Plan` for user notification and tracing, which have no listener here.
pub(crate) fn lower(seccomp: &LinuxSeccomp) -> Result<Vec<Instruction>> {
    let default = verdict(seccomp.default_action(), seccomp.default_errno_ret())?;
    let mut rules: BTreeMap<u32, Rule> = BTreeMap::new();
    for entry in seccomp.syscalls().iter().flatten() {
        let verdict = verdict(entry.action(), entry.errno_ret())?;
        let tests = entry.args().iter().flatten().map(test).collect::<Result<Vec<Test>>>()?;
        for number in entry.names().iter().filter_map(|name| table::number(name)) {
            let rule = rules.entry(number).or_insert_with(|| Rule::always(default));
            if tests.is_empty() {
                rule.otherwise = verdict;
            } else {
                rule.clauses.push((tests.clone(), verdict));
            }
        }
    }
    compile::compile(&Policy { rules, known: default, newer: default, foreign: errno(libc::EPERM) })
}

/// Whether a filter allows whatever is asked, which is to say that there is none.
pub(crate) fn allows_everything(seccomp: &LinuxSeccomp) -> bool {
    seccomp.default_action() == LinuxSeccompAction::ScmpActAllow && seccomp.syscalls().iter().flatten().next().is_none()
}

fn verdict(action: LinuxSeccompAction, number: Option<u32>) -> Result<Verdict> {
    Ok(match action {
        LinuxSeccompAction::ScmpActAllow => ALLOW,
        LinuxSeccompAction::ScmpActErrno => {
            libc::SECCOMP_RET_ERRNO | (number.unwrap_or(libc::EPERM as u32) & libc::SECCOMP_RET_DATA)
        }
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        LinuxSeccompAction::ScmpActKillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        LinuxSeccompAction::ScmpActLog => libc::SECCOMP_RET_LOG,
        other @ (LinuxSeccompAction::ScmpActNotify | LinuxSeccompAction::ScmpActTrace) => {
            return Err(Error::Plan(format!("seccomp action `{other}` is not supported")));
        }
    })
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
