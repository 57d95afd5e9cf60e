//! What a guest may ask the kernel: rules by name, compiled to a binary tree of BPF beforehand (a linear filter costs
//! half a millisecond at every start, since the kernel runs it for each call number: FLOORS).

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::sys::Instruction;

mod abi;
mod compile;
mod default;
#[cfg(all(test, target_arch = "x86_64"))]
mod differential;
mod features;
#[cfg(test)]
mod interpreter;
mod multiplexed;
mod profile;
mod table;

use abi::Abi;
pub(crate) use features::seccomp_features;
pub(crate) use profile::{Profile, allows_everything, lower};

/// What the kernel does with a call: `SECCOMP_RET_*` with its data.
type Verdict = u32;

const ALLOW: Verdict = libc::SECCOMP_RET_ALLOW;

fn errno(number: i32) -> Verdict {
    libc::SECCOMP_RET_ERRNO | (number as u32 & libc::SECCOMP_RET_DATA)
}

/// Whether the call is made, perhaps with somebody watching: a tracer is expected to know calls that a profile does not.
fn permits(verdict: Verdict) -> bool {
    let action = verdict & libc::SECCOMP_RET_ACTION_FULL;
    [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG, libc::SECCOMP_RET_TRACE].contains(&action)
}

/// The kernel's order: what is less is stricter.
fn severity(verdict: Verdict) -> i32 {
    (verdict & libc::SECCOMP_RET_ACTION_FULL) as i32
}

/// One comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Test {
    argument: usize,
    operator: Operator,
    value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rule {
    clauses: Vec<(Vec<Test>, Verdict)>,
    otherwise: Verdict,
}

/// More clauses than this for one call do not fit into a filter.
const MOST_CLAUSES: usize = 1024;

impl Rule {
    fn always(verdict: Verdict) -> Rule {
        Rule { clauses: Vec::new(), otherwise: verdict }
    }

    /// Adds a clause. Of two, the one whose tests are among the other's is the wider one and swallows it, so that one without
    /// any swallows all; of equals the first stays. So it is under libseccomp. Of others that meet, the stricter one comes
    /// first, as the kernel has it of several filters.
    fn add(&mut self, tests: &[Test], verdict: Verdict) -> Result<()> {
        let within = |few: &[Test], many: &[Test]| few.iter().all(|test| many.contains(test));
        if self.clauses.iter().any(|(wider, _)| within(wider, tests)) {
            return Ok(());
        }
        self.clauses.retain(|(narrower, _)| !within(tests, narrower));
        if self.clauses.len() == MOST_CLAUSES {
            return Err(Error::Plan(format!("a seccomp rule has more than {MOST_CLAUSES} clauses")));
        }
        let at = self.clauses.partition_point(|(_, before)| severity(*before) <= severity(verdict));
        self.clauses.insert(at, (tests.to_vec(), verdict));
        Ok(())
    }

    /// Every verdict it may come to.
    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        let sure = self.clauses.iter().any(|(tests, _)| tests.is_empty());
        self.clauses.iter().map(|(_, verdict)| *verdict).chain((!sure).then_some(self.otherwise))
    }
}

/// A whole filter before it is compiled.
#[derive(Debug)]
struct Policy {
    /// By the ABI that they are made by; the native one is among them.
    sections: Vec<Section>,
    /// For calls of any other (32-bit, x32).
    foreign: Verdict,
}

/// The calls of one ABI.
#[derive(Debug)]
struct Section {
    abi: Abi,
    rules: BTreeMap<u32, Rule>,
    /// For numbers without a rule, up to `last`.
    known: Verdict,
    last: u32,
    /// For numbers above: calls newer than the policy.
    newer: Verdict,
}

impl Section {
    /// What the table knows is `known`; what is newer than this build, libc is told not to be there.
    fn new(abi: Abi, known: Verdict) -> Section {
        let last = table::calls(abi).map(|(_, number)| number).max().unwrap_or(0);
        Section { abi, rules: BTreeMap::new(), known, last, newer: errno(libc::ENOSYS) }
    }

    /// What happens to a number, with a rule or without.
    fn rule_of(&self, number: u32) -> Rule {
        let without = || Rule::always(if number > self.last { self.newer } else { self.known });
        self.rules.get(&number).cloned().unwrap_or_else(without)
    }
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
    let refused = errno(libc::EPERM);
    let mut section = Section::new(Abi::NATIVE, refused);
    for name in names.iter().chain(&REPORTING) {
        let number = table::number(name, Abi::NATIVE);
        let number = number.ok_or_else(|| Error::Plan(format!("unknown system call `{name}`")))?;
        section.rules.insert(number, Rule::always(ALLOW));
    }
    let thread = libc::CLONE_THREAD as u64;
    if let Some(rule) = table::number("clone", Abi::NATIVE).and_then(|clone| section.rules.get_mut(&clone)) {
        let only_threads =
            Test { argument: 0, operator: Operator::Masked(default::NAMESPACES | thread), value: thread };
        *rule = Rule { clauses: vec![(vec![only_threads], ALLOW)], otherwise: refused };
    }
    if let Some(clone3) = table::number("clone3", Abi::NATIVE) {
        section.rules.entry(clone3).or_insert_with(|| Rule::always(errno(libc::ENOSYS)));
    }
    compile::compile(&Policy { sections: vec![section], foreign: refused })
}
