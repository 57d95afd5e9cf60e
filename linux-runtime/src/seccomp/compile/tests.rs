//! A BPF interpreter runs compiled filters over every system call number and says what the kernel would do.

use super::*;
use crate::seccomp::{ALLOW, default, default_filter, errno, only};

fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(architecture.to_ne_bytes());
    data.extend([0; 8]);
    arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let one = program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { one.jt } else { one.jf });
        match one.code {
            LOAD => accumulator = u32::from_ne_bytes(data[one.k as usize..one.k as usize + 4].try_into().unwrap()),
            RETURN => return one.k,
            AND => accumulator &= one.k,
            JUMP => at += one.k as usize,
            EQUAL => at += jump(accumulator == one.k),
            GREATER => at += jump(accumulator > one.k),
            AT_LEAST => at += jump(accumulator >= one.k),
            other => panic!("unknown instruction {other}"),
        }
    }
}

fn call(program: &[Instruction], name: &str, first: u64) -> u32 {
    run(program, AUDIT_ARCH_X86_64, table::number(name).unwrap(), [first, 0, 0, 0, 0, 0])
}

#[test]
fn compiled_verdicts_are_those_of_the_rules_for_every_number() {
    let policy = default::policy(0);
    let program = default_filter(0).unwrap();
    let last = table::CALLS.last().unwrap().1;
    for number in 0..last + 50 {
        let rule = policy.rules.get(&number);
        if rule.is_some_and(|rule| !rule.clauses.is_empty()) {
            continue;
        }
        let expected = rule.map_or(if number > last { policy.newer } else { policy.known }, |rule| rule.otherwise);
        assert_eq!(run(&program, AUDIT_ARCH_X86_64, number, [0; 6]), expected, "call {number}");
    }
}

#[test]
fn default_filter_refuses_what_reaches_around_a_container() {
    let program = default_filter(0).unwrap();
    let refused = errno(libc::EPERM);
    for name in ["keyctl", "bpf", "io_uring_setup", "userfaultfd", "mount", "unshare", "setns", "kexec_load"] {
        assert_eq!(call(&program, name, 0), refused, "{name}");
    }
    assert_eq!(call(&program, "clone3", 0), errno(libc::ENOSYS));
    assert_eq!(call(&program, "clone", libc::CLONE_NEWUSER as u64), refused);
    assert_eq!(call(&program, "clone", libc::SIGCHLD as u64), ALLOW);
    assert_eq!(call(&program, "socket", libc::AF_ALG as u64), refused);
    assert_eq!(call(&program, "socket", libc::AF_VSOCK as u64 | 1 << 32), refused);
    assert_eq!(call(&program, "socket", libc::AF_INET as u64), ALLOW);
    assert_eq!(call(&program, "personality", 0xffff_ffff), ALLOW);
    assert_eq!(call(&program, "personality", 0x40000), refused);
}

#[test]
fn capabilities_open_the_calls_they_govern() {
    assert_eq!(call(&default_filter(0).unwrap(), "chroot", 0), errno(libc::EPERM));
    assert_eq!(call(&default_filter(1 << 18).unwrap(), "chroot", 0), ALLOW);
    assert_eq!(call(&default_filter(1 << 21).unwrap(), "clone", libc::CLONE_NEWNS as u64), ALLOW);
}

#[test]
fn other_architectures_are_refused() {
    let program = default_filter(0).unwrap();
    assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), errno(libc::EPERM));
    assert_eq!(run(&program, AUDIT_ARCH_X86_64, X32 | 1, [0; 6]), errno(libc::EPERM));
}

#[test]
fn a_list_of_names_allows_exactly_those() {
    let program = only(&["read", "futex"]).unwrap();
    for (name, number) in table::CALLS {
        let verdict = run(&program, AUDIT_ARCH_X86_64, *number, [0; 6]);
        assert_eq!(verdict == ALLOW, ["read", "futex", "write", "close", "exit_group"].contains(name), "{name}");
    }
    assert!(only(&["no_such_call"]).is_err());
}

#[test]
fn our_own_code_clones_threads_and_nothing_else() {
    let program = only(&["clone"]).unwrap();
    let thread = (libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_SIGHAND | libc::CLONE_THREAD) as u64;
    assert_eq!(call(&program, "clone", thread), ALLOW);
    for flags in [libc::SIGCHLD as u64, libc::CLONE_NEWUSER as u64, thread | libc::CLONE_NEWNET as u64] {
        assert_eq!(call(&program, "clone", flags), errno(libc::EPERM), "{flags:#x}");
    }
    assert_eq!(call(&program, "clone3", thread), errno(libc::ENOSYS));
}

#[test]
fn every_operator_compares_all_64_bits() {
    let check = |operator, value: u64, argument: u64, holds: bool| {
        let test = Test { argument: 1, operator, value };
        let rule = Rule { clauses: vec![(vec![test], ALLOW)], otherwise: 7 };
        let program = leaf(&rule).unwrap();
        let verdict = run(&program, 0, 0, [0, argument, 0, 0, 0, 0]);
        assert_eq!(verdict == ALLOW, holds, "{operator:?} {value:#x} {argument:#x}");
    };
    let values = [0, 1, 5, u64::from(u32::MAX), 1 << 32, (1 << 32) | 5, u64::MAX];
    for value in values {
        for argument in values {
            check(Operator::Equal, value, argument, argument == value);
            check(Operator::NotEqual, value, argument, argument != value);
            check(Operator::Less, value, argument, argument < value);
            check(Operator::LessOrEqual, value, argument, argument <= value);
            check(Operator::Greater, value, argument, argument > value);
            check(Operator::GreaterOrEqual, value, argument, argument >= value);
            check(Operator::Masked(0xf_0000_000f), value, argument, argument & 0xf_0000_000f == value);
        }
    }
}
