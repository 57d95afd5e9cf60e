//! Classic BPF, interpreted: what the kernel would do with a call under a filter. For tests.

use super::Verdict;
use super::abi::{Abi, X32_MARK};
use crate::sys::Instruction;

/// A call as a filter sees it: its number, and the lower arguments.
pub(super) fn judge(program: &[Instruction], abi: Abi, number: u32, arguments: [u64; 6]) -> Verdict {
    let number = if abi == Abi::X32 { number | X32_MARK } else { number };
    run(program, abi.audit(), number, arguments)
}

pub(super) fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> Verdict {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(architecture.to_ne_bytes());
    data.extend([0; 8]);
    arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
    let word = |at: u32| u32::from_ne_bytes(data[at as usize..at as usize + 4].try_into().unwrap());
    let (mut at, mut accumulator, mut index) = (0, 0_u32, 0_u32);
    let mut memory = [0_u32; 16];
    loop {
        let one = program[at];
        at += 1;
        let operand = if one.code & 0x08 == 0 { one.k } else { index };
        match one.code & !0x08 {
            0x20 => accumulator = word(one.k),
            0x00 => accumulator = one.k,
            0x60 => accumulator = memory[one.k as usize],
            0x02 => memory[one.k as usize] = accumulator,
            0x06 => return one.k,
            0x54 => accumulator &= operand,
            0x05 => at += one.k as usize,
            0x07 => index = accumulator,
            0x15 => at += jump(one, accumulator == operand),
            0x25 => at += jump(one, accumulator > operand),
            0x35 => at += jump(one, accumulator >= operand),
            0x45 => at += jump(one, accumulator & operand != 0),
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn jump(one: Instruction, taken: bool) -> usize {
    usize::from(if taken { one.jt } else { one.jf })
}
