//! Profiles as they are written for other runtimes, interpreted call by call.

use serde_json::{Value, json};

use super::*;
use crate::seccomp::ALLOW;
use crate::seccomp::interpreter::judge;

const NATIVE: Abi = Abi::NATIVE;

fn profile(text: Value) -> Result<Profile, String> {
    let seccomp: LinuxSeccomp = serde_json::from_value(text).unwrap();
    lower(&seccomp).map_err(|error| error.to_string())
}

fn filter(default: &str, syscalls: Value) -> Vec<Instruction> {
    profile(json!({ "defaultAction": default, "syscalls": syscalls })).unwrap().program
}

fn call(program: &[Instruction], abi: Abi, name: &str, arguments: &[u64]) -> Verdict {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    judge(program, abi, table::number(name, abi).unwrap(), all)
}

fn argument(index: usize, operator: &str, value: u64) -> Value {
    json!({ "index": index, "op": format!("SCMP_CMP_{operator}"), "value": value })
}

#[test]
fn every_action_is_the_kernels() {
    let cases = [
        ("KILL", None, libc::SECCOMP_RET_KILL_THREAD),
        ("KILL_THREAD", None, libc::SECCOMP_RET_KILL_THREAD),
        ("KILL_PROCESS", None, libc::SECCOMP_RET_KILL_PROCESS),
        ("TRAP", None, libc::SECCOMP_RET_TRAP),
        ("ERRNO", None, errno(libc::EPERM)),
        ("ERRNO", Some(38), errno(38)),
        ("ERRNO", Some(0), errno(0)),
        ("TRACE", None, libc::SECCOMP_RET_TRACE | 1),
        ("TRACE", Some(65535), libc::SECCOMP_RET_TRACE | 65535),
        ("LOG", None, libc::SECCOMP_RET_LOG),
        ("ALLOW", None, ALLOW),
    ];
    for (action, number, expected) in cases {
        let default = if action == "ALLOW" { "SCMP_ACT_TRAP" } else { "SCMP_ACT_ALLOW" };
        let rule = json!([{ "names": ["getcwd"], "action": format!("SCMP_ACT_{action}"), "errnoRet": number }]);
        assert_eq!(call(&filter(default, rule), NATIVE, "getcwd", &[]), expected, "{action}");
    }
}

#[test]
fn what_contradicts_the_specification_is_refused_in_a_sentence() {
    let notify = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }]);
    let write = json!([{ "names": ["write"], "action": "SCMP_ACT_NOTIFY" }]);
    let rule = |value: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [value] });
    let cases = [
        (
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1 })),
            "`linux.seccomp`: `SCMP_ACT_ALLOW` has no `errnoRet`",
        ),
        (
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 65536 })),
            "`linux.seccomp`: `errnoRet` of `SCMP_ACT_ERRNO` is 65536; 4095 is the most",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1 }),
            "`linux.seccomp`: `SCMP_ACT_KILL` has no `errnoRet`",
        ),
        (rule(json!({ "names": [""], "action": "SCMP_ACT_TRAP" })), "`linux.seccomp.syscalls` has an empty name"),
        (
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_TRAP", "args": [argument(6, "EQ", 0)] })),
            "seccomp argument 6 does not exist",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/agent" }),
            "`linux.seccomp`: `SCMP_ACT_NOTIFY` cannot be the default action",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": notify }),
            "`linux.seccomp`: `SCMP_ACT_NOTIFY` needs `listenerPath`",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }),
            "`linux.seccomp`: `listenerMetadata` needs `listenerPath`",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", "syscalls": write }),
            "`linux.seccomp`: with `SCMP_ACT_NOTIFY` the call `write` must be allowed: it tells of the listener",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/run/agent", "syscalls": [
                { "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" },
                { "names": ["write"], "action": "SCMP_ACT_ALLOW" },
            ] }),
            "`linux.seccomp`: with `SCMP_ACT_NOTIFY` the call `read` must be allowed or notified: it waits for the listener",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] }),
            "`linux.seccomp.flags`: `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` needs a rule of `SCMP_ACT_NOTIFY`",
        ),
    ];
    for (text, sentence) in cases {
        assert_eq!(profile(text).map(|profile| profile.flags).unwrap_err(), sentence);
    }
}

#[test]
fn flags_are_the_kernels_and_all_threads_are_one() {
    let flags = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"].map(|flag| format!("SECCOMP_FILTER_FLAG_{flag}"));
    let syscalls = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }]);
    let text = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "listenerPath": "/a", "syscalls": syscalls });
    let profile = profile(text).unwrap();
    assert!(profile.listener);
    let all = libc::SECCOMP_FILTER_FLAG_LOG
        | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW
        | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    assert_eq!(profile.flags, all);
}

#[test]
fn a_listener_without_a_question_is_ignored() {
    let text = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/a", "listenerMetadata": "m" });
    assert!(!profile(text).unwrap().listener);
}

#[test]
fn the_wider_rule_swallows_the_narrower_and_the_first_of_equals_stays() {
    let rule =
        |action: &str, args: Value| json!({ "names": ["ioctl"], "action": format!("SCMP_ACT_{action}"), "args": args });
    let (one, both) = (json!([argument(1, "EQ", 7)]), json!([argument(1, "EQ", 7), argument(0, "GT", 2)]));
    let narrow_first = json!([rule("TRAP", both.clone()), rule("LOG", one.clone()), rule("TRAP", one.clone())]);
    let wide_first = json!([rule("LOG", one.clone()), rule("TRAP", both.clone())]);
    for rules in [narrow_first, wide_first] {
        let program = filter("SCMP_ACT_ERRNO", rules);
        assert_eq!(call(&program, NATIVE, "ioctl", &[3, 7]), libc::SECCOMP_RET_LOG);
        assert_eq!(call(&program, NATIVE, "ioctl", &[3, 8]), errno(libc::EPERM));
    }
    for rules in [
        json!([rule("LOG", one.clone()), rule("ALLOW", json!([])), rule("TRAP", json!([]))]),
        json!([rule("ALLOW", json!([])), rule("LOG", one), rule("TRAP", both)]),
    ] {
        let program = filter("SCMP_ACT_ERRNO", rules);
        assert_eq!(call(&program, NATIVE, "ioctl", &[3, 7]), ALLOW);
    }
}

#[test]
fn of_rules_that_meet_the_stricter_counts_whatever_their_order() {
    let rule =
        |action: &str, index| json!({ "names": ["ioctl"], "action": action, "args": [argument(index, "EQ", 7)] });
    let (log, trap) = (rule("SCMP_ACT_LOG", 0), rule("SCMP_ACT_TRAP", 1));
    for rules in [json!([log, trap]), json!([trap, log])] {
        let program = filter("SCMP_ACT_ERRNO", rules);
        assert_eq!(call(&program, NATIVE, "ioctl", &[7, 7]), libc::SECCOMP_RET_TRAP);
        assert_eq!(call(&program, NATIVE, "ioctl", &[7, 0]), libc::SECCOMP_RET_LOG);
    }
}

#[test]
fn a_rule_that_repeats_the_default_is_none() {
    let rules = json!([
        { "names": ["getcwd"], "action": "SCMP_ACT_ERRNO" },
        { "names": ["getcwd"], "action": "SCMP_ACT_ALLOW" },
    ]);
    assert_eq!(call(&filter("SCMP_ACT_ERRNO", rules), NATIVE, "getcwd", &[]), ALLOW);
}

#[test]
fn several_tests_of_one_argument_are_alternatives() {
    let args = [argument(0, "EQ", 1), argument(0, "EQ", 5), argument(1, "GT", 9)];
    let program = filter("SCMP_ACT_ERRNO", json!([{ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": args }]));
    for (arguments, expected) in [([1, 0], ALLOW), ([5, 0], ALLOW), ([0, 10], ALLOW), ([0, 9], errno(libc::EPERM))] {
        assert_eq!(call(&program, NATIVE, "ioctl", &arguments), expected, "{arguments:?}");
    }
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let newer = |default: &str, names: &[&str]| {
        let rules = json!([{ "names": names, "action": "SCMP_ACT_TRAP" }]);
        call(&filter(default, rules), NATIVE, "openat2", &[])
    };
    // `openat2` is 437, `no_such_call` nothing.
    for (default, names, expected) in [
        ("SCMP_ACT_ERRNO", &["clone3", "no_such_call"][..], errno(libc::ENOSYS)),
        ("SCMP_ACT_ERRNO", &["pidfd_getfd"], errno(libc::EPERM)),
        ("SCMP_ACT_KILL_PROCESS", &["clone3"], errno(libc::ENOSYS)),
        ("SCMP_ACT_ERRNO", &["no_such_call"], errno(libc::EPERM)),
        ("SCMP_ACT_ALLOW", &["clone3"], ALLOW),
        ("SCMP_ACT_LOG", &["clone3"], libc::SECCOMP_RET_LOG),
        ("SCMP_ACT_TRACE", &["clone3"], libc::SECCOMP_RET_TRACE | 1),
    ] {
        assert_eq!(newer(default, names), expected, "{default} {names:?}");
    }
}

/// CVE-2026-31431 was stopped for 64-bit calls first, and then for 32-bit ones in a way that broke every socket there.
#[cfg(target_arch = "x86_64")]
#[test]
fn architectures_that_are_not_listed_are_killed_and_listed_ones_filtered() {
    let listed = |architectures: &[&str]| {
        let syscalls = json!([{ "names": ["getcwd", "rt_sigaction"], "action": "SCMP_ACT_ALLOW" }]);
        let text = json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": architectures, "syscalls": syscalls });
        profile(text).unwrap().program
    };
    let native = listed(&["SCMP_ARCH_X86_64", "SCMP_ARCH_MIPS64"]);
    for abi in [Abi::X86, Abi::X32] {
        assert_eq!(call(&native, abi, "getcwd", &[]), libc::SECCOMP_RET_KILL_PROCESS, "{abi:?}");
    }
    let all = listed(&["SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    for abi in [Abi::X86_64, Abi::X86, Abi::X32] {
        assert_eq!(call(&all, abi, "rt_sigaction", &[]), ALLOW, "{abi:?}");
        assert_eq!(call(&all, abi, "read", &[]), errno(libc::EPERM), "{abi:?}");
    }
    assert_eq!(judge(&all, Abi::Aarch64, 0, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_stands_behind_socketcall_and_ipc_is_filtered_there() {
    let with = |default: &str, rules: Value| {
        let text = json!({ "defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "syscalls": rules });
        profile(text).unwrap().program
    };
    let allowed = with(
        "SCMP_ACT_ERRNO",
        json!([
            { "names": ["connect", "semop"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [argument(0, "NE", libc::AF_ALG as u64)] },
        ]),
    );
    assert_eq!(call(&allowed, Abi::X86, "socketcall", &[3]), ALLOW);
    assert_eq!(call(&allowed, Abi::X86, "ipc", &[1 << 16 | 1]), ALLOW);
    assert_eq!(call(&allowed, Abi::X86, "ipc", &[2]), errno(libc::EPERM));
    // Which family is in memory: what is allowed for some is not allowed for all.
    assert_eq!(call(&allowed, Abi::X86, "socketcall", &[1]), errno(libc::EPERM));
    assert_eq!(call(&allowed, Abi::X86, "socket", &[2]), ALLOW);
    let refused = with(
        "SCMP_ACT_ALLOW",
        json!([
            { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [argument(0, "EQ", libc::AF_ALG as u64)] },
        ]),
    );
    assert_eq!(call(&refused, Abi::X86, "socketcall", &[1]), errno(libc::EPERM));
    assert_eq!(call(&refused, Abi::X86, "socketcall", &[3]), ALLOW);
    let listed = with("SCMP_ACT_ERRNO", json!([{ "names": ["socketcall"], "action": "SCMP_ACT_ALLOW" }]));
    assert_eq!(call(&listed, Abi::X86, "socketcall", &[1]), ALLOW);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn arguments_of_32_bits_are_compared_as_such() {
    let args = [argument(0, "EQ", u64::MAX)];
    let rules = json!([{ "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": args }]);
    let text = json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": rules });
    let program = profile(text).unwrap().program;
    assert_eq!(call(&program, Abi::X86, "personality", &[0xffff_ffff]), ALLOW);
    assert_eq!(call(&program, Abi::X86_64, "personality", &[0xffff_ffff]), errno(libc::EPERM));
}

#[test]
fn a_rule_of_more_clauses_than_fit_is_refused() {
    let rules: Vec<Value> = (0..2000)
        .map(|value| json!({ "names": ["ioctl"], "action": "SCMP_ACT_LOG", "args": [argument(0, "EQ", value)] }))
        .collect();
    let error =
        profile(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })).map(|one| one.flags).unwrap_err();
    assert_eq!(error, "a seccomp rule has more than 1024 clauses");
}
