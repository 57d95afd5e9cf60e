//! Filters of the specification as a guest meets them: one in Docker's manner against known ways out, calls of 32 bits, and an
//! agent that answers for a call.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::Case;
use super::bundle::{Bundle, Ended};

#[allow(clippy::duplicate_mod, reason = "two suites use it, and a third has both")]
#[path = "../seccomp/probe.rs"]
mod probe;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a filter in Docker's manner keeps io_uring, AF_ALG, AF_VSOCK, keyrings and user namespaces away", ways_out),
    ("32-bit calls end a program unless their architecture is listed (CVE-2026-31431)", foreign_calls),
    ("32-bit calls that are listed meet the same filter (CVE-2026-31431)", listed_calls),
    ("an agent is told of the container, and answers for a call", agent),
    ("a listener that nobody takes refuses the container", no_agent),
    ("actions are the kernel's: errno, kill, trap, log", actions),
];

/// What a small static program needs.
const NEEDED: &[&str] = &[
    "read",
    "write",
    "execve",
    "exit",
    "exit_group",
    "brk",
    "arch_prctl",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "prlimit64",
    "readlink",
    "readlinkat",
    "getrandom",
    "mprotect",
    "mmap",
    "munmap",
    "fstat",
    "newfstatat",
    "ioctl",
    "close",
    "getpid",
    "wait4",
    "clock_gettime",
    "futex",
    "rt_sigaction",
    "rt_sigprocmask",
    "madvise",
    "uname",
];

/// An allow list, with sockets of all families but two, and processes without new namespaces.
fn profile(architectures: &[&str]) -> Value {
    let masked = |value: u64| json!([{ "index": 0, "value": value, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }]);
    let eq =
        |family: i32| json!([{ "index": 0, "value": 0xffff_ffff_u32, "valueTwo": family, "op": "SCMP_CMP_MASKED_EQ" }]);
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": architectures,
        "syscalls": [
            { "names": NEEDED, "action": "SCMP_ACT_ALLOW" },
            { "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": masked(0x7e02_0000) },
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS },
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": eq(libc::AF_INET) },
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": eq(libc::AF_UNIX) },
        ],
    })
}

fn run_probe(bundle: &mut Bundle, words: &[&str], architectures: &[&str]) -> Result<Ended, Failed> {
    probe::build(Path::new(&bundle.path("rootfs/bin/probe")))?;
    bundle.spec["linux"]["seccomp"] = profile(architectures);
    bundle.run(&[&["probe"], words].concat())
}

fn ways_out(bundle: &mut Bundle) -> Result<(), Failed> {
    let ended = run_probe(bundle, &[], &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])?.succeeded()?;
    let mut answers = probe::answers(&ended.output)?;
    // Listed, if this kernel has it at all.
    answers.remove("x32_getpid");
    probe::refused(&answers)
}

fn foreign_calls(bundle: &mut Bundle) -> Result<(), Failed> {
    let ended = run_probe(bundle, &["int80"], &["SCMP_ARCH_X86_64"])?;
    assert_eq!((ended.code, &*ended.output), (Some(128 + libc::SIGSYS), ""), "{ended:?}");
    let ended = bundle.run(&["probe"])?;
    assert_eq!((ended.code, &*ended.output), (Some(128 + libc::SIGSYS), ""), "x32: {ended:?}");
    Ok(())
}

fn listed_calls(bundle: &mut Bundle) -> Result<(), Failed> {
    let ended = run_probe(bundle, &["int80"], &["SCMP_ARCH_X86"])?.succeeded()?;
    let answers = probe::answers(&ended.output)?;
    assert_eq!(answers.get("getpid"), Some(&0), "{answers:?}");
    for name in ["af_alg", "af_alg_by_socketcall", "keyctl"] {
        assert_eq!(answers.get(name), Some(&libc::EPERM), "{name}: {answers:?}");
    }
    Ok(())
}

fn asking(bundle: &mut Bundle) {
    let syscalls = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }]);
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "listenerPath": bundle.path("agent.sock"),
        "listenerMetadata": "of a test",
        "syscalls": syscalls,
    });
    bundle.spec["annotations"] = json!({ "org.example": "kept" });
}

/// For the first process, which is created and started by two runs of the program, and for one that joins.
fn agent(bundle: &mut Bundle) -> Result<(), Failed> {
    asking(bundle);
    bundle.runs(&["sh", "-c", "mkdir /tmp/x 2>/tmp/said; sleep 1000"]).write()?;
    bundle.spec["root"]["readonly"] = json!(false);
    bundle.write()?;
    let first = Agent::new(bundle)?;
    bundle.program(&["create", &bundle.id])?.succeeded()?;
    let pid = bundle.state()?["pid"].clone();
    bundle.program(&["start", &bundle.id])?.succeeded()?;
    let told = first.told()?;
    assert_eq!(told["fds"], json!(["seccompFd"]), "{told}");
    assert_eq!((&told["metadata"], &told["pid"]), (&json!("of a test"), &pid), "{told}");
    let state = &told["state"];
    assert_eq!(
        (&state["id"], &state["status"], &state["pid"]),
        (&json!(bundle.id), &json!("creating"), &pid),
        "{told}"
    );
    assert_eq!(state["annotations"], json!({ "org.example": "kept" }), "{told}");
    assert_eq!(told["ociVersion"], bundle.spec["ociVersion"], "{told}");

    let second = Agent::new(bundle)?;
    let ended = bundle.program(&["exec", &bundle.id, "mkdir", "/tmp/y"])?;
    ended.refused("File descriptor in bad state");
    let told = second.told()?;
    assert_eq!(told["state"]["status"], json!("running"), "{told}");
    assert_ne!(told["pid"], pid, "{told}");
    let said = std::fs::read_to_string(bundle.path("rootfs/tmp/said"))?;
    assert!(said.contains("File descriptor in bad state"), "{said}");
    Ok(())
}

/// The program that answers, and what it prints.
struct Agent(std::process::Child, BufReader<std::process::ChildStdout>);

impl Agent {
    /// Listens when this returns.
    fn new(bundle: &Bundle) -> Result<Agent, Failed> {
        let socket = bundle.path("agent.sock");
        let _ = std::fs::remove_file(&socket);
        let mut python = Command::new("python3");
        let python = python.args(["-c", include_str!("../seccomp/agent.py"), &socket]).stdout(Stdio::piped());
        let mut child = python.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?);
        lines.read_line(&mut String::new())?;
        Ok(Agent(child, lines))
    }

    fn told(mut self) -> Result<Value, Failed> {
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        let status = self.0.wait()?;
        if status.success() {
            Ok(serde_json::from_str(&line)?)
        } else {
            Err(format!("the agent ended with {status}").into())
        }
    }
}

fn no_agent(bundle: &mut Bundle) -> Result<(), Failed> {
    asking(bundle);
    let ended = bundle.run(&["true"])?;
    ended.refused("send the seccomp listener to `");
    Ok(())
}

fn actions(bundle: &mut Bundle) -> Result<(), Failed> {
    for (action, code, words) in [
        (json!({ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EBADFD }), 1, "bad state"),
        (json!({ "names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS" }), 128 + libc::SIGSYS, ""),
        (json!({ "names": ["mkdir"], "action": "SCMP_ACT_KILL" }), 128 + libc::SIGSYS, ""),
        (json!({ "names": ["mkdir"], "action": "SCMP_ACT_TRAP" }), 128 + libc::SIGSYS, ""),
        (json!({ "names": ["mkdir"], "action": "SCMP_ACT_TRACE" }), 1, "not implemented"),
        (json!({ "names": ["mkdir"], "action": "SCMP_ACT_LOG" }), 1, "exists"),
    ] {
        bundle.spec["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [action] });
        let ended = bundle.run(&["mkdir", "/tmp"])?;
        assert!(ended.code == Some(code) && ended.error.contains(words), "{action}: {ended:?}");
    }
    Ok(())
}
