//! Rules to classic BPF: ranges of equal verdicts, searched by a binary tree.

use super::abi::{Abi, X32_MARK};
use super::{Operator, Policy, Rule, Section, Test, Verdict};
use crate::error::{Error, Result};
use crate::sys::Instruction;

mod writer;

use writer::{Place, Writer};

const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The number of a call that a tracer has already answered.
const ANSWERED: u32 = u32::MAX;
/// The kernel's BPF_MAXINSNS.
const LONGEST: usize = 4096;

pub(super) fn compile(policy: &Policy) -> Result<Vec<Instruction>> {
    let mut writer = Writer::new(LONGEST);
    let program = program(&mut writer, policy);
    writer
        .finish(program)
        .ok_or_else(|| Error::Plan(format!("the seccomp filter needs more than {LONGEST} instructions")))
}

/// Written from its end: what comes first when a call is judged stands last here.
fn program(writer: &mut Writer, policy: &Policy) -> Place {
    let mut next = writer.end(policy.foreign);
    let x32 = policy.sections.iter().find(|section| section.abi == Abi::X32);
    for section in policy.sections.iter().rev().filter(|section| section.abi != Abi::X32) {
        let marked = (section.abi == Abi::X86_64).then(|| marked(writer, section, x32, policy.foreign));
        let mut tree = tree(writer, &ranges(section), section.abi.is_wide());
        if let Some(marked) = marked {
            tree = writer.branch(AT_LEAST, X32_MARK, marked, tree);
        }
        let body = writer.load(NUMBER, tree);
        next = writer.branch(EQUAL, section.abi.audit(), body, next);
    }
    writer.load(ARCHITECTURE, next)
}

/// Numbers of x86_64 from [`X32_MARK`] on.
fn marked(writer: &mut Writer, native: &Section, x32: Option<&Section>, foreign: Verdict) -> Place {
    let place = match x32 {
        Some(section) => {
            let mut ranges = ranges(section);
            ranges.iter_mut().for_each(|(first, _)| *first |= X32_MARK);
            tree(writer, &ranges, false)
        }
        None => writer.end(foreign),
    };
    let answered = writer.end(native.known);
    writer.branch(EQUAL, ANSWERED, answered, place)
}

/// The first number of each run of equal rules, from 0 on.
fn ranges(section: &Section) -> Vec<(u32, Rule)> {
    let after = section.rules.keys().flat_map(|number| [*number, number + 1]);
    let mut firsts: Vec<u32> = after.chain([0, section.last + 1]).collect();
    firsts.sort_unstable();
    let mut ranges: Vec<(u32, Rule)> = Vec::new();
    for first in firsts {
        let rule = section.rule_of(first);
        if ranges.last().is_none_or(|(_, before)| *before != rule) {
            ranges.push((first, rule));
        }
    }
    ranges
}

/// Finds the range of the number that has been loaded.
fn tree(writer: &mut Writer, ranges: &[(u32, Rule)], wide: bool) -> Place {
    match ranges {
        [] => writer.end(libc::SECCOMP_RET_KILL_PROCESS),
        [(_, rule)] => leaf(writer, rule, wide),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let above = tree(writer, high, wide);
            let below = tree(writer, low, wide);
            writer.branch(AT_LEAST, high[0].0, above, below)
        }
    }
}

fn leaf(writer: &mut Writer, rule: &Rule, wide: bool) -> Place {
    let mut next = writer.end(rule.otherwise);
    for (tests, verdict) in rule.clauses.iter().rev() {
        let end = writer.end(*verdict);
        next = tests.iter().rev().fold(end, |holds, test| compare(writer, test, wide, (holds, next)));
    }
    next
}

/// Goes to the first place if a test holds, else to the second. Arguments are two words, of which only the lower one counts
/// where they are not `wide`.
fn compare(writer: &mut Writer, test: &Test, wide: bool, (holds, fails): (Place, Place)) -> Place {
    match test.operator {
        Operator::Equal => equal(writer, test, u64::MAX, wide, (holds, fails)),
        Operator::NotEqual => equal(writer, test, u64::MAX, wide, (fails, holds)),
        Operator::Masked(mask) => equal(writer, test, mask, wide, (holds, fails)),
        Operator::Greater => above(writer, test, GREATER, wide, (holds, fails)),
        Operator::GreaterOrEqual => above(writer, test, AT_LEAST, wide, (holds, fails)),
        Operator::Less => above(writer, test, AT_LEAST, wide, (fails, holds)),
        Operator::LessOrEqual => above(writer, test, GREATER, wide, (fails, holds)),
    }
}

fn equal(writer: &mut Writer, test: &Test, mask: u64, wide: bool, (equal, other): (Place, Place)) -> Place {
    let lower = word(writer, low(test), test.value as u32, mask as u32, (equal, other));
    if !wide {
        return lower;
    }
    word(writer, high(test), (test.value >> 32) as u32, (mask >> 32) as u32, (lower, other))
}

/// One half of an argument under a mask.
fn word(writer: &mut Writer, offset: u32, value: u32, mask: u32, (equal, other): (Place, Place)) -> Place {
    if mask == 0 {
        return if value == 0 { equal } else { other };
    }
    if mask != u32::MAX {
        let branch = writer.branch(EQUAL, value, equal, other);
        let and = writer.change(AND, mask, branch);
        return writer.load(offset, and);
    }
    let (equal, other) = (writer.loaded(offset, equal), writer.loaded(offset, other));
    let branch = writer.branch(EQUAL, value, equal, other);
    writer.load(offset, branch)
}

/// `code` says of the lower halves whether an argument is above, where the upper ones are equal.
fn above(writer: &mut Writer, test: &Test, code: u16, wide: bool, (above, below): (Place, Place)) -> Place {
    let (value, upper) = (test.value as u32, (test.value >> 32) as u32);
    let lower = writer.branch(code, value, above, below);
    let lower = writer.load(low(test), lower);
    if !wide {
        return lower;
    }
    let equal = writer.branch(EQUAL, upper, lower, below);
    let branch = writer.branch(GREATER, upper, above, equal);
    writer.load(high(test), branch)
}

/// Both supported architectures are little-endian.
fn low(test: &Test) -> u32 {
    ARGUMENTS + 8 * test.argument as u32
}

fn high(test: &Test) -> u32 {
    low(test) + 4
}

#[cfg(test)]
mod tests;
