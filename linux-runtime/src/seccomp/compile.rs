//! Rules to classic BPF: ranges of equal verdicts, searched by a binary tree.

use super::{Operator, Policy, Rule, Test, table};
use crate::error::{Error, Result};
use crate::sys::Instruction;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Calls of the x32 ABI have this bit and the same architecture.
const X32: u32 = 0x4000_0000;
/// The kernel's BPF_MAXINSNS.
const LONGEST: usize = 4096;

fn say(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

pub(super) fn compile(policy: &Policy) -> Result<Vec<Instruction>> {
    let mut program = vec![
        say(LOAD, ARCHITECTURE),
        branch(EQUAL, AUDIT_ARCH_X86_64, 1, 0),
        say(RETURN, policy.foreign),
        say(LOAD, NUMBER),
        branch(AT_LEAST, X32, 0, 1),
        say(RETURN, policy.foreign),
    ];
    program.extend(tree(&ranges(policy))?);
    if program.len() > LONGEST {
        return Err(Error::Plan(format!("the seccomp filter needs {} instructions, {LONGEST} fit", program.len())));
    }
    Ok(program)
}

/// The first number of each run of equal rules, from 0 on.
fn ranges(policy: &Policy) -> Vec<(u32, Rule)> {
    let last = table::CALLS.last().map_or(0, |(_, number)| *number);
    let mut ranges: Vec<(u32, Rule)> = Vec::new();
    for number in 0..=last + 1 {
        let verdict = if number > last { policy.newer } else { policy.known };
        let rule = policy.rules.get(&number).cloned().unwrap_or_else(|| Rule::always(verdict));
        if ranges.last().is_none_or(|(_, before)| *before != rule) {
            ranges.push((number, rule));
        }
    }
    ranges
}

fn tree(ranges: &[(u32, Rule)]) -> Result<Vec<Instruction>> {
    match ranges {
        [] => Err(Error::Plan("a seccomp filter without rules".into())),
        [(_, rule)] => leaf(rule),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let (left, right) = (tree(low)?, tree(high)?);
            let mut code = Vec::with_capacity(left.len() + right.len() + 2);
            match u8::try_from(left.len()) {
                Ok(distance) => code.push(branch(AT_LEAST, high[0].0, distance, 0)),
                Err(_) => code.extend([branch(AT_LEAST, high[0].0, 0, 1), say(JUMP, left.len() as u32)]),
            }
            code.extend(left);
            code.extend(right);
            Ok(code)
        }
    }
}

fn leaf(rule: &Rule) -> Result<Vec<Instruction>> {
    let mut code = Vec::new();
    for (tests, verdict) in &rule.clauses {
        let mut clause = vec![say(RETURN, *verdict)];
        // Built from the back, so that the way past the clause is known.
        for test in tests.iter().rev() {
            // One comparison adds up to 3 to the distance, which is one byte.
            let past = u8::try_from(clause.len()).ok().filter(|past| *past <= u8::MAX - 3);
            let past = past.ok_or_else(|| Error::Plan("a seccomp rule with too many tests".into()))?;
            let mut head = compare(test, past);
            head.append(&mut clause);
            clause = head;
        }
        code.extend(clause);
    }
    code.push(say(RETURN, rule.otherwise));
    Ok(code)
}

/// Falls through when the test holds, else jumps over `past` further instructions. Arguments are 64 bits in two words.
fn compare(test: &Test, past: u8) -> Vec<Instruction> {
    let low = ARGUMENTS + 8 * test.argument as u32;
    let high = low + 4;
    let (value_low, value_high) = (test.value as u32, (test.value >> 32) as u32);
    match test.operator {
        Operator::Masked(mask) => vec![
            say(LOAD, high),
            say(AND, (mask >> 32) as u32),
            branch(EQUAL, value_high, 0, past + 3),
            say(LOAD, low),
            say(AND, mask as u32),
            branch(EQUAL, value_low, 0, past),
        ],
        Operator::Equal => vec![
            say(LOAD, high),
            branch(EQUAL, value_high, 0, past + 2),
            say(LOAD, low),
            branch(EQUAL, value_low, 0, past),
        ],
        Operator::NotEqual => {
            vec![say(LOAD, high), branch(EQUAL, value_high, 0, 2), say(LOAD, low), branch(EQUAL, value_low, past, 0)]
        }
        Operator::Greater | Operator::GreaterOrEqual => {
            let last = if test.operator == Operator::Greater { GREATER } else { AT_LEAST };
            vec![
                say(LOAD, high),
                branch(GREATER, value_high, 3, 0),
                branch(EQUAL, value_high, 0, past + 2),
                say(LOAD, low),
                branch(last, value_low, 0, past),
            ]
        }
        Operator::Less | Operator::LessOrEqual => {
            let last = if test.operator == Operator::Less { AT_LEAST } else { GREATER };
            vec![
                say(LOAD, high),
                branch(GREATER, value_high, past + 3, 0),
                branch(EQUAL, value_high, 0, 2),
                say(LOAD, low),
                branch(last, value_low, past, 0),
            ]
        }
    }
}

#[cfg(test)]
mod tests;
