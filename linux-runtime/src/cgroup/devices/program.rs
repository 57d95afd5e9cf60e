//! The rules as a program: the kernel runs it whenever a device is opened or made in the group.

use super::{ALL, Rule};

/// The operations the program uses, as the kernel's instruction set numbers them (Documentation/bpf/standardization).
mod operation {
    pub(super) const LOAD_WORD: u8 = 0x61;
    pub(super) const COPY: u8 = 0xbc;
    pub(super) const AND: u8 = 0x54;
    pub(super) const SHIFT_RIGHT: u8 = 0x74;
    pub(super) const SET: u8 = 0xb7;
    pub(super) const JUMP_IF_EQUAL: u8 = 0x16;
    pub(super) const JUMP_IF_OTHER: u8 = 0x56;
    pub(super) const EXIT: u8 = 0x95;
}

/// Registers: the verdict, the context (`struct bpf_cgroup_dev_ctx`), and what is read from it.
const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const PART: u8 = 6;

fn instruction(operation: u8, to: u8, from: u8, offset: i16, value: u32) -> u64 {
    u64::from(operation)
        | u64::from(to | from << 4) << 8
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(value) << 32
}

/// The rules from the last to the first, each a few comparisons that jump to the next. An allowed access is struck off
/// those still asked for; nothing left is a yes, a denied one a no.
pub(in super::super) fn program(rules: &[Rule]) -> Vec<u64> {
    use operation::{AND, COPY, EXIT, LOAD_WORD, SET, SHIFT_RIGHT};
    let mut program = vec![
        // The first word holds the access in its upper half and the kind in its lower.
        instruction(LOAD_WORD, ACCESS, CONTEXT, 0, 0),
        instruction(COPY, KIND, ACCESS, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(clause(rule));
        if rule.is_about_everything() {
            // The kernel refuses a program with instructions nobody reaches.
            return program;
        }
    }
    program.extend([instruction(SET, VERDICT, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

fn clause(rule: &Rule) -> Vec<u64> {
    use operation::{AND, COPY, EXIT, JUMP_IF_EQUAL, JUMP_IF_OTHER, SET};
    let verdict = [instruction(SET, VERDICT, 0, 0, rule.allow.into()), instruction(EXIT, 0, 0, 0, 0)];
    let mut tests = Vec::new();
    for (register, number) in [(KIND, rule.kind), (MAJOR, rule.major), (MINOR, rule.minor)] {
        tests.extend(number.map(|number| (JUMP_IF_OTHER, register, 0, number)));
    }
    match (rule.allow, rule.access) {
        (_, ALL) => {}
        (true, access) => tests.extend([(AND, ACCESS, 0, !access), (JUMP_IF_OTHER, ACCESS, 0, 0)]),
        (false, access) => {
            tests.extend([(COPY, PART, ACCESS, 0), (AND, PART, 0, access), (JUMP_IF_EQUAL, PART, 0, 0)]);
        }
    }
    let last = tests.len() + verdict.len() - 1;
    let coded = tests.into_iter().enumerate().map(|(at, (operation, to, from, value))| {
        let jumps = [JUMP_IF_OTHER, JUMP_IF_EQUAL].contains(&operation);
        // A rule has at most eight instructions.
        let offset = if jumps { (last - at) as i16 } else { 0 };
        instruction(operation, to, from, offset, value)
    });
    coded.chain(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK, CHARACTER, EVERYBODYS, rules};
    use super::*;

    /// What the kernel would do with the program.
    fn run(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u32; 7];
        let mut at = 0;
        loop {
            let word = program[at];
            let (to, from) = ((word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
            let (offset, value) = ((word >> 16) as u16, (word >> 32) as u32);
            let jump = |holds: bool| if holds { offset as usize } else { 0 };
            at += 1;
            match word as u8 {
                operation::LOAD_WORD => registers[to] = context[usize::from(offset) / 4],
                operation::COPY => registers[to] = registers[from],
                operation::AND => registers[to] &= value,
                operation::SHIFT_RIGHT => registers[to] >>= value,
                operation::SET => registers[to] = value,
                operation::JUMP_IF_EQUAL => at += jump(registers[to] == value),
                operation::JUMP_IF_OTHER => at += jump(registers[to] != value),
                operation::EXIT => return registers[0] != 0,
                other => panic!("no such operation: {other:#x}"),
            }
        }
    }

    fn asked(json: serde_json::Value) -> Vec<u64> {
        program(&rules(Some(&serde_json::from_value(json).unwrap())))
    }

    #[test]
    fn a_container_opens_its_own_devices_and_no_others() {
        let program = program(&rules(None));
        for (major, minor) in [(1, 3), (1, 9), (5, 2), (136, 0), (136, 77)] {
            assert!(run(&program, CHARACTER, 6, major, minor), "{major}:{minor}");
        }
        for (kind, major, minor) in [(CHARACTER, 1, 1), (CHARACTER, 10, 229), (BLOCK, 1, 3), (BLOCK, 8, 0)] {
            assert!(!run(&program, kind, 2, major, minor), "{kind} {major}:{minor}");
        }
    }

    #[test]
    fn an_allowed_device_is_allowed_as_far_as_it_is() {
        let program = asked(serde_json::json!([
            { "allow": true, "type": "b", "major": 8, "access": "r" },
            { "allow": false, "type": "b", "major": 8, "minor": 1, "access": "r" },
        ]));
        assert!(run(&program, BLOCK, 2, 8, 0));
        assert!(!run(&program, BLOCK, 6, 8, 0), "reading is allowed, reading and writing is not");
        assert!(!run(&program, BLOCK, 2, 8, 1), "the later rule decides");
        assert!(!run(&program, BLOCK, 2, 9, 0));
    }

    #[test]
    fn a_rule_for_everything_ends_the_program() {
        let program = asked(serde_json::json!([{ "allow": true, "access": "rwm" }]));
        assert!(run(&program, BLOCK, 7, 8, 0) && run(&program, CHARACTER, 7, 1, 1));
        let exits = program.iter().filter(|word| **word as u8 == operation::EXIT).count();
        assert_eq!(exits, EVERYBODYS.len() + 1);
    }

    #[test]
    fn each_access_is_decided_by_its_own_last_rule() {
        let program = asked(serde_json::json!([
            { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "r" },
            { "allow": true, "type": "c", "major": 10, "access": "w" },
            { "allow": true, "major": 7 },
            { "allow": false, "type": "b", "major": 7, "minor": -1, "access": "w" },
        ]));
        assert!(run(&program, CHARACTER, 6, 10, 229), "reading by the one, writing by the other");
        assert!(!run(&program, CHARACTER, 6, 10, 1));
        assert!(
            run(&program, CHARACTER, 6, 7, 0) && run(&program, BLOCK, 2, 7, 0),
            "a rule without a type is for both"
        );
        assert!(!run(&program, BLOCK, 6, 7, 0));
        assert!(run(&program, BLOCK, 1, 8, 0), "a node may be made");
        assert!(!run(&program, BLOCK, 3, 8, 0), "and not be opened");
    }
}
