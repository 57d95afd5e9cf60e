//! Compiled filters, interpreted for every system call number.

use super::*;
use crate::seccomp::interpreter::{judge, run};
use crate::seccomp::{ALLOW, default, default_filter, errno, only, table};

fn number(name: &str) -> u32 {
    table::number(name, Abi::NATIVE).unwrap()
}

fn call(program: &[Instruction], name: &str, first: u64) -> u32 {
    judge(program, Abi::NATIVE, number(name), [first, 0, 0, 0, 0, 0])
}

#[test]
fn compiled_verdicts_are_those_of_the_rules_for_every_number() {
    let section = default::policy(0).sections.remove(0);
    let program = default_filter(0).unwrap();
    for number in 0..section.last + 50 {
        let rule = section.rules.get(&number);
        if rule.is_some_and(|rule| !rule.clauses.is_empty()) {
            continue;
        }
        let without = if number > section.last { errno(libc::ENOSYS) } else { ALLOW };
        let expected = rule.map_or(without, |rule| rule.otherwise);
        assert_eq!(judge(&program, Abi::NATIVE, number, [0; 6]), expected, "call {number}");
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
    for abi in [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm] {
        let expected = if abi == Abi::NATIVE { ALLOW } else { errno(libc::EPERM) };
        assert_eq!(judge(&program, abi, 1, [0; 6]), expected, "{abi:?}");
    }
}

#[test]
fn a_list_of_names_allows_exactly_those() {
    let program = only(&["read", "futex"]).unwrap();
    for (name, number) in table::calls(Abi::NATIVE) {
        let verdict = judge(&program, Abi::NATIVE, number, [0; 6]);
        assert_eq!(verdict == ALLOW, ["read", "futex", "write", "close", "exit_group"].contains(&name), "{name}");
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
        let mut writer = Writer::new(LONGEST);
        let first = leaf(&mut writer, &rule, true);
        let program = writer.finish(first).unwrap();
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
            for mask in [0, 0xf, 0xf_0000_000f, 0xffff_ffff, 0xffff_ffff_0000_0000, u64::MAX] {
                check(Operator::Masked(mask), value, argument, argument & mask == value);
            }
        }
    }
}

#[test]
fn a_program_goes_wherever_it_must_however_far() {
    // Rules without anything in common, so that nothing is shared and branches do not reach.
    let mut section = Section::new(Abi::NATIVE, errno(1));
    for number in 0..300 {
        let clauses =
            vec![(vec![Test { argument: 1, operator: Operator::Greater, value: u64::from(number) << 31 }], ALLOW)];
        section.rules.insert(number, Rule { clauses, otherwise: errno(number as i32 + 2) });
    }
    let program = compile(&Policy { sections: vec![section], foreign: 0 }).unwrap();
    assert!(program.len() > 1000, "{}", program.len());
    for number in 0..300 {
        for (argument, expected) in [(0, errno(number as i32 + 2)), ((u64::from(number) << 31) + 1, ALLOW)] {
            assert_eq!(judge(&program, Abi::NATIVE, number, [0, argument, 0, 0, 0, 0]), expected, "call {number}");
        }
    }
    assert_eq!(judge(&program, Abi::NATIVE, 300, [0; 6]), errno(1));
}

#[test]
fn a_program_longer_than_the_kernel_takes_is_refused() {
    let mut section = Section::new(Abi::NATIVE, ALLOW);
    for number in 0..2000 {
        let tests = vec![Test { argument: 0, operator: Operator::Equal, value: u64::from(number) }];
        section.rules.insert(number, Rule { clauses: vec![(tests, number)], otherwise: ALLOW });
    }
    let error = compile(&Policy { sections: vec![section], foreign: 0 }).unwrap_err().to_string();
    assert_eq!(error, "the seccomp filter needs more than 4096 instructions");
}

#[test]
fn what_is_the_same_is_written_once() {
    let allowed = |numbers: &[u32]| {
        let mut section = Section::new(Abi::NATIVE, errno(1));
        for number in numbers {
            let tests = vec![Test { argument: 0, operator: Operator::NotEqual, value: 38 }];
            section.rules.insert(*number, Rule { clauses: vec![(tests, ALLOW)], otherwise: errno(1) });
        }
        compile(&Policy { sections: vec![section], foreign: 0 }).unwrap().len()
    };
    // One more branch to either side of each further call, and nothing else.
    assert_eq!(allowed(&[10, 20, 30]), allowed(&[10]) + 4);
}

#[test]
fn a_call_that_a_tracer_has_answered_is_not_foreign() {
    let section = Section::new(Abi::X86_64, errno(1));
    let program = compile(&Policy { sections: vec![section], foreign: 0 }).unwrap();
    assert_eq!(run(&program, Abi::X86_64.audit(), u32::MAX, [0; 6]), errno(1));
    assert_eq!(run(&program, Abi::X86_64.audit(), X32_MARK, [0; 6]), 0);
}
