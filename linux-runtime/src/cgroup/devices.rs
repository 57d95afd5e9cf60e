//! Which devices a group may open: for v1 as lines of its controller's files, for v2 as a program of eBPF, which is what
//! the controller became there (Linux 4.15). Pure.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// What every container may open: null zero full random urandom tty console ptmx and pseudo-terminals, as Docker's.
const EVERYBODYS: [(i64, Option<i64>); 8] =
    [(1, Some(3)), (1, Some(5)), (1, Some(7)), (1, Some(8)), (1, Some(9)), (5, Some(0)), (5, Some(2)), (136, None)];

/// The letters of accesses with the kernel's bits (`BPF_DEVCG_ACC_*`).
const ACCESSES: [(char, u32); 3] = [('r', 2), ('w', 4), ('m', 1)];
const ALL: u32 = 7;

/// One rule; the last that matches decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    allow: bool,
    /// `BPF_DEVCG_DEV_*`: 1 is a block device, 2 a character device; `None` is every device there is.
    kind: Option<u32>,
    major: Option<i64>,
    minor: Option<i64>,
    access: u32,
}

/// Everything denied first, then what the specification says, then what every container has.
pub(super) fn rules(asked: Option<&Vec<LinuxDeviceCgroup>>) -> Vec<Rule> {
    let all = |allow| Rule { allow, kind: None, major: None, minor: None, access: ALL };
    let mut rules = vec![all(false)];
    for rule in asked.into_iter().flatten() {
        let kind = match rule.typ().unwrap_or(LinuxDeviceType::A) {
            LinuxDeviceType::A => {
                rules.push(all(rule.allow()));
                continue;
            }
            LinuxDeviceType::B => 1,
            _ => 2,
        };
        let letters = rule.access().as_deref().unwrap_or("rwm");
        let access = ACCESSES.iter().filter(|(letter, _)| letters.contains(*letter)).fold(0, |all, (_, bit)| all | bit);
        rules.push(Rule { allow: rule.allow(), kind: Some(kind), major: rule.major(), minor: rule.minor(), access });
    }
    let everybodys = |(major, minor)| Rule { allow: true, kind: Some(2), major: Some(major), minor, access: ALL };
    rules.extend(EVERYBODYS.map(everybodys));
    rules
}

/// Files and lines of the v1 controller.
pub(super) fn lines(rules: &[Rule]) -> Vec<(&'static str, String)> {
    let line = |rule: &Rule| {
        let file = if rule.allow { "devices.allow" } else { "devices.deny" };
        let Some(kind) = rule.kind else { return (file, "a".to_owned()) };
        let number = |number: Option<i64>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let letters: String =
            ACCESSES.iter().filter(|(_, bit)| rule.access & bit != 0).map(|(letter, _)| letter).collect();
        let kind = if kind == 1 { 'b' } else { 'c' };
        (file, format!("{kind} {}:{} {letters}", number(rule.major), number(rule.minor)))
    };
    rules.iter().map(line).collect()
}

/// The operations the program uses, as the kernel's instruction set numbers them (Documentation/bpf/standardization).
mod operation {
    pub(super) const LOAD_WORD: u8 = 0x61;
    pub(super) const COPY: u8 = 0xbc;
    pub(super) const AND: u8 = 0x54;
    pub(super) const SHIFT_RIGHT: u8 = 0x74;
    pub(super) const SET: u8 = 0xb7;
    pub(super) const JUMP_IF_EQUAL: u8 = 0x16;
    pub(super) const JUMP_IF_OTHER: u8 = 0x56;
    pub(super) const JUMP_IF_OTHER_REGISTER: u8 = 0x5e;
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

/// The rules from the last to the first, each a few comparisons that jump to the next.
pub(super) fn program(rules: &[Rule]) -> Vec<u64> {
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
        if rule.kind.is_none() {
            // It matches everything: the kernel refuses a program with instructions nobody reaches.
            return program;
        }
    }
    program.extend([instruction(SET, VERDICT, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

fn clause(rule: &Rule) -> Vec<u64> {
    use operation::{AND, COPY, EXIT, JUMP_IF_EQUAL, JUMP_IF_OTHER, JUMP_IF_OTHER_REGISTER, SET};
    let verdict = [instruction(SET, VERDICT, 0, 0, rule.allow.into()), instruction(EXIT, 0, 0, 0, 0)];
    let Some(kind) = rule.kind else { return verdict.to_vec() };
    let mut tests = vec![(JUMP_IF_OTHER, KIND, 0, kind)];
    let numbers = [(MAJOR, rule.major), (MINOR, rule.minor)];
    for (register, number) in numbers.into_iter().filter_map(|(register, number)| Some((register, number?))) {
        tests.push((JUMP_IF_OTHER, register, 0, u32::try_from(number).unwrap_or(u32::MAX)));
    }
    if rule.access != ALL {
        tests.push((COPY, PART, ACCESS, 0));
        tests.push((AND, PART, 0, rule.access));
        // Allowed is what is wholly named, denied what is named in part.
        tests.push(if rule.allow { (JUMP_IF_OTHER_REGISTER, PART, ACCESS, 0) } else { (JUMP_IF_EQUAL, PART, 0, 0) });
    }
    let last = tests.len() + verdict.len() - 1;
    let jumps = |operation| [JUMP_IF_OTHER, JUMP_IF_EQUAL, JUMP_IF_OTHER_REGISTER].contains(&operation);
    let coded = tests.into_iter().enumerate().map(|(at, (operation, to, from, value))| {
        // A rule has at most eight instructions.
        let offset = if jumps(operation) { (last - at) as i16 } else { 0 };
        instruction(operation, to, from, offset, value)
    });
    coded.chain(verdict).collect()
}

#[cfg(test)]
mod tests {
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
                operation::JUMP_IF_OTHER_REGISTER => at += jump(registers[to] != registers[from]),
                operation::EXIT => return registers[0] != 0,
                other => panic!("no such operation: {other:#x}"),
            }
        }
    }

    fn asked(json: serde_json::Value) -> Vec<u64> {
        program(&rules(Some(&serde_json::from_value(json).unwrap())))
    }

    const BLOCK: u32 = 1;
    const CHARACTER: u32 = 2;

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
    fn v1_takes_the_same_rules_as_lines() {
        let lines = lines(&rules(None));
        assert_eq!(lines[0], ("devices.deny", "a".to_owned()));
        assert_eq!(lines[1], ("devices.allow", "c 1:3 rwm".to_owned()));
        assert_eq!(lines.last().unwrap(), &("devices.allow", "c 136:* rwm".to_owned()));
    }
}
