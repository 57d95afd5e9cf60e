//! Sandboxes as the kernel shows them: the real zygote, real namespaces, a busybox inside. Needs privilege; where it
//! lacks, every case is ignored with the reason (and fails under PROA_TEST_REQUIRE=all).

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};
use proa_linux::zygote;
use proa_linux::zygote::protocol::{Event, Request};
use proa_linux::{Join, Plan, Prepared, SUBORDINATE, Streams, cgroup};
use serde_json::json;

mod guest;
#[allow(clippy::duplicate_mod, reason = "two suites use it, and a third has both")]
#[path = "../seccomp/probe.rs"]
mod probe;

use guest::{Guest, PARENT, expect, lacks};

/// Code of our own that lives until its input ends.
pub(crate) static ENTRIES: [zygote::Entry; 1] = [zygote::Entry { name: "hold", build: |_| Box::new(hold) }];

fn hold(descriptors: Vec<OwnedFd>) -> i32 {
    let read = descriptors.first().map(|input| rustix::io::read(input, &mut [0; 1]));
    if matches!(read, Some(Ok(_))) { 0 } else { 1 }
}

pub(crate) const WAYS_OUT: &str =
    "the default filter keeps io_uring, AF_ALG, AF_VSOCK, keyrings, namespaces and 32-bit calls away";

type Case = fn(&mut Guest) -> Result<(), Failed>;

#[allow(dead_code, reason = "another suite has these cases among its own")]
fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "zygote") {
        return zygote::main(&ENTRIES);
    }
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit_code()
}

pub(crate) fn trials() -> Vec<Trial> {
    let lacks = lacks();
    let cases: [(&str, Case); 23] = [
        ("a program's output and exit status come back", output_and_status),
        ("a guest sees only its own processes", own_processes),
        ("root under a user namespace is nobody outside", user_namespace),
        ("what a guest writes lands in the upper folder", writes),
        ("a missing program is told apart from one that cannot be executed", missing_program),
        ("a failing step is named with its number", named_step),
        ("capabilities, filter and no_new_privs are what the plan says", rights),
        ("masked and read-only paths hold", masked),
        ("a signal ends a guest with 128 and its number", signalled),
        ("a memory limit ends a guest and is told as such", out_of_memory),
        ("layers can be attached before the overlay is made", attached_layers),
        ("a layer's devices cannot be opened", layer_devices),
        ("one more process joins a running guest", joined),
        ("a read-only root gets its working directory first", read_only_root),
        ("a kernel before 5.12 holds mounts as tightly", older_kernel),
        ("a worker's memory holds nothing of other guests", foreign_secrets),
        ("a guest that outlives its zygote still tells how it ended", orphaned),
        ("an init of ours reaps, passes signals on and ends as its program", init),
        ("a namespace of another sandbox is joined by path", joins_by_path),
        ("a terminal comes from the guest's own devpts", terminal),
        ("a sandbox that was never started ends with its zygote", never_started),
        (WAYS_OUT, ways_out),
        ("nothing is left: no mount, no process, no cgroup", nothing_left),
    ];
    let required = std::env::var("PROA_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let trials = cases.into_iter().map(|(name, case)| {
        let reason = lacks.clone();
        let ignored = reason.is_some() && !required;
        let kind = reason.clone().map_or(String::new(), |reason| format!("ignored, {reason}"));
        let trial = Trial::test(name, move || match reason {
            Some(reason) => Err(Failed::from(reason)),
            None => case(&mut Guest::new()?),
        });
        trial.with_kind(if ignored { kind } else { String::new() }).with_ignored_flag(ignored)
    });
    trials.collect()
}

fn output_and_status(guest: &mut Guest) -> Result<(), Failed> {
    let ended = guest.shell("echo out; echo err >&2; exit 7")?;
    expect("both streams", ended.output.contains("out\n") && ended.output.contains("err\n"), &ended.output)?;
    expect("the status", ended.exit.code == 7, ended.exit)?;
    let begun = Instant::now();
    for _ in 0..20 {
        guest.run(&["true"])?;
    }
    eprintln!("create, start, exit, remove of busybox true: {:?} on average", begun.elapsed() / 20);
    Ok(())
}

fn own_processes(guest: &mut Guest) -> Result<(), Failed> {
    let ended = guest.shell("echo $$; ls /proc | head -1; cat /proc/1/comm")?;
    expect("pid 1 and nobody else", ended.output.starts_with("1\n1\n"), ended.output)
}

fn user_namespace(guest: &mut Guest) -> Result<(), Failed> {
    guest.user = Some(SUBORDINATE);
    let ended = guest.shell("cat /proc/self/uid_map; id -u; touch /tmp/mine && ls -ln /bin/busybox")?;
    let words: Vec<&str> = ended.output.split_whitespace().collect();
    expect("the map", words.starts_with(&["0", "100000", "65536", "0"]), &ended.output)?;
    expect("the layer is root's inside", ended.output.contains(" 0        0 "), &ended.output)
}

fn writes(guest: &mut Guest) -> Result<(), Failed> {
    use std::os::unix::fs::MetadataExt;
    guest.user = Some(SUBORDINATE);
    let descriptors = guest.start(&["sh", "-c", "echo kept > /tmp/file; echo done; sleep 100"])?;
    rustix::fs::fcntl_setfl(&descriptors[1], rustix::fs::OFlags::empty())?;
    rustix::io::read(&descriptors[1], &mut [0; 5])?;
    let file = guest.folder.path().join("scratch/upper/tmp/file");
    expect("the content", fs::read_to_string(&file)? == "kept\n", &file)?;
    expect("an unprivileged owner", fs::metadata(&file)?.uid() == 100_000, fs::metadata(&file)?.uid())?;
    proa_linux::send_signal(descriptors[0].as_fd(), 9)?;
    guest.finish(descriptors).map(drop)
}

fn missing_program(guest: &mut Guest) -> Result<(), Failed> {
    for (program, text, code) in
        [("nosuch", "no such file or directory", 127), ("/etc/plain", "permission denied", 126)]
    {
        let error = guest.start(&[program]).err().ok_or("it started")?;
        let said = format!("{error:?}");
        expect("the sentence", said.contains(text) && said.contains(program), &said)?;
        let exit = guest.client.exit(&guest.id)?;
        expect("the code", exit.code == code, exit)?;
        guest.forget()?;
    }
    Ok(())
}

fn named_step(guest: &mut Guest) -> Result<(), Failed> {
    guest.process.set_cwd("/etc/plain".into());
    let error = guest.start(&["true"]).err().ok_or("it started")?;
    let said = format!("{error:?}");
    expect("the step", said.contains("make directory `/etc/plain` if it is missing: not a directory"), &said)?;
    let group = format!("{PARENT}/{}", guest.id);
    // The killed child leaves its group when the zygote has reaped it.
    while cgroup::remove(&guest.facts.cgroups, &group).is_err() {
        std::thread::yield_now();
    }
    cgroup::remove_parent(&guest.facts.cgroups, PARENT);
    Ok(())
}

fn read_only_root(guest: &mut Guest) -> Result<(), Failed> {
    for user in [None, Some(SUBORDINATE)] {
        guest.user = user;
        guest.read_only = true;
        guest.process.set_cwd("/not/there".into());
        let ended = guest.shell("pwd; touch here || echo refused")?;
        expect("the directory", ended.output.starts_with("/not/there\n"), &ended.output)?;
        expect("the root", ended.output.contains("refused\n"), ended.output)?;
    }
    Ok(())
}

/// The plan of a kernel without mount_setattr(2), which this one can execute as well.
fn older_kernel(guest: &mut Guest) -> Result<(), Failed> {
    let source = guest.folder.path().join("source");
    fs::create_dir_all(source.join("there"))?;
    let bind = json!({ "destination": "/data", "type": "bind", "source": source,
        "options": ["rbind", "ro", "nosuid", "noatime"] });
    guest.mounts = vec![serde_json::from_value(bind)?];
    guest.facts.kernel = (5, 10);
    guest.read_only = true;
    for user in [None, Some(SUBORDINATE)] {
        guest.user = user;
        let plan = guest.plan(&["true"])?.to_string();
        expect("the way of old", plan.contains("remount `/data`") && plan.contains("by a remount"), &plan)?;
        let script = "for place in / /data /proc/sys/kernel/hostname; do echo x > $place/new || echo x > $place; done; \
                      ls /data; cat /proc/self/mountinfo";
        let ended = guest.shell(script)?;
        let refused = ended.output.matches("Read-only file system").count();
        expect("nothing is written", refused == 3, &ended.output)?;
        expect("the source", ended.output.contains("there\n"), &ended.output)?;
        expect("its attributes", ended.output.contains(" /data ro,nosuid,noatime - "), &ended.output)?;
    }
    Ok(())
}

/// A worker is a copy of the zygote, which has seen the plans of all: one that ended, one that waits to be started, one
/// that runs, one whose plan came by memfd.
fn foreign_secrets(guest: &mut Guest) -> Result<(), Failed> {
    // Not a literal: the worker's program is this one.
    let secret = |number: u32| format!("{}-{number}-{:08x}", ["se", "cret"].concat(), std::process::id());
    let set = |guest: &mut Guest, number: u32, more: usize| {
        let environment = vec![format!("TOKEN={}{}", secret(number), "x".repeat(more)), "PATH=/bin".to_owned()];
        guest.process.set_env(Some(environment));
    };
    for (number, more) in [(1, 0), (2, 100_000)] {
        set(guest, number, more);
        let ended = guest.shell(&format!("echo $TOKEN {}", secret(number + 10)))?;
        expect("the guest has its secret", ended.output.contains(&secret(number)), ended.output)?;
    }
    set(guest, 3, 0);
    let running = guest.start(&["sleep", "1000"])?;
    let id = std::mem::replace(&mut guest.id, "guest-waiting".to_owned());
    set(guest, 4, 0);
    guest.create(&["true"])?;

    let own = secret(5);
    let confinement = proa_linux::Confinement {
        group: &format!("{PARENT}/worker-test"),
        entry: "hold",
        argument: own.as_bytes(),
        descriptors: 1,
        syscalls: &["read", "munmap", "sigaltstack"],
        memory: None,
        cpu_quota: None,
        pids: None,
    };
    let plan = Plan::confine(&confinement, &guest.facts)?;
    let mut prepared = Prepared::new(&plan)?;
    let (input, end) = rustix::pipe::pipe()?;
    prepared.add(confinement.slots().next().ok_or("no slot")?, input);
    let fds: Vec<_> = prepared.descriptors.iter().map(AsFd::as_fd).collect();
    let given = prepared.slots.clone();
    let request = |ticket| Request::Create { ticket, id: "worker-test".to_owned(), plan, given };
    let (created, _) = guest.client.ask(request, &fds)?;
    let Event::Created { pid, .. } = created else { return Err(format!("{created:?}").into()) };
    let memory = memory_of(pid)?;
    let environment = fs::read(format!("/proc/{pid}/environ"))?;
    drop((prepared, end));
    guest.client.exit("worker-test")?;
    guest.id = id;
    proa_linux::send_signal(running[0].as_fd(), 9)?;
    guest.finish(running)?;
    for group in ["worker-test", "guest-waiting"].map(|id| format!("{PARENT}/{id}")) {
        cgroup::kill_all(&guest.facts.cgroups, &group);
        while cgroup::remove(&guest.facts.cgroups, &group).is_err() {
            std::thread::yield_now();
        }
    }
    cgroup::remove_parent(&guest.facts.cgroups, PARENT);
    let has = |needle: &str| memory.windows(needle.len()).any(|window| window == needle.as_bytes());
    expect("its own argument is found", has(&own), memory.len())?;
    let found: Vec<u32> = [1, 2, 3, 4, 11, 12].into_iter().filter(|number| has(&secret(*number))).collect();
    expect("no secret of others", found.is_empty(), found)?;
    expect("no environment of the starter's", environment.is_empty(), environment.len())
}

/// Everything a process could read of itself.
fn memory_of(pid: u32) -> Result<Vec<u8>, Failed> {
    use std::os::unix::fs::FileExt;
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut all = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let (Some((from, to)), true) = (range.split_once('-'), rights.starts_with("rw")) else { continue };
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        let mut piece = vec![0; usize::try_from(to - from)?];
        // A page that was never touched is none of its memory.
        if memory.read_exact_at(&mut piece, from).is_ok() {
            all.extend_from_slice(&piece);
        }
    }
    Ok(all)
}

fn orphaned(guest: &mut Guest) -> Result<(), Failed> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    if guest.facts.kernel < (6, 15) {
        eprintln!("this kernel's pidfds do not tell how a process ended");
        return Ok(());
    }
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let descriptors = guest.start(&["sh", "-c", script])?;
    rustix::fs::fcntl_setfl(&descriptors[1], rustix::fs::OFlags::empty())?;
    rustix::io::read(&descriptors[1], &mut [0; 6])?;
    let items = guest.client.list()?;
    let Some((Event::Item { pid, .. }, _)) = items.first() else { return Err("it holds nothing".into()) };
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let zygote = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).and_then(|pid| pid.parse().ok());
    let zygote = zygote.and_then(rustix::process::Pid::from_raw).ok_or("no parent")?;
    rustix::process::kill_process(zygote, rustix::process::Signal::KILL)?;
    while guest.client.list().is_ok() {}
    proa_linux::send_signal(descriptors[0].as_fd(), 15)?;
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    // Hung up means reaped (Linux 6.15).
    let mut reaped = [PollFd::new(&descriptors[0], PollFlags::empty())];
    expect("its end", poll(&mut reaped, Some(&patience))? == 1, reaped[0].revents())?;
    let code = proa_linux::exit_code(descriptors[0].as_fd());
    cgroup::remove(&guest.facts.cgroups, &format!("{PARENT}/{}", guest.id))?;
    cgroup::remove_parent(&guest.facts.cgroups, PARENT);
    expect("the code", code == Some(7), code)
}

fn rights(guest: &mut Guest) -> Result<(), Failed> {
    let ended = guest.run(&["cat", "/proc/self/status"])?;
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        expect(line, ended.output.contains(line), &ended.output)?;
    }
    let ended = guest.shell("mount -t tmpfs none /tmp")?;
    expect("mounting is refused", ended.exit.code != 0, ended.output)
}

fn masked(guest: &mut Guest) -> Result<(), Failed> {
    let ended = guest.shell("cat /proc/kcore | head -c 1; ls /proc/acpi; echo x > /proc/sys/kernel/hostname")?;
    expect("a read-only /proc/sys", ended.output.contains("Read-only file system"), ended.output)
}

fn signalled(guest: &mut Guest) -> Result<(), Failed> {
    let descriptors = guest.start(&["sleep", "1000"])?;
    proa_linux::send_signal(descriptors[0].as_fd(), 9)?;
    let ended = guest.finish(descriptors)?;
    expect("128 + 9", ended.exit.code == 137 && !ended.exit.oom_killed, ended.exit)
}

fn out_of_memory(guest: &mut Guest) -> Result<(), Failed> {
    guest.limit = Some(8 << 20);
    let ended = guest.run(&["tail", "/dev/zero"])?;
    expect("killed for memory", ended.exit.oom_killed && ended.exit.code == 137, ended.exit)
}

fn attached_layers(guest: &mut Guest) -> Result<(), Failed> {
    guest.facts.overlay = Some(proa_linux::Lower::Attached);
    let ended = guest.shell("echo plain")?;
    expect("the root works", ended.output == "plain\n", ended.output)?;
    guest.user = Some(SUBORDINATE);
    let ended = guest.shell("echo mapped")?;
    expect("under a user namespace too", ended.output == "mapped\n", ended.output)
}

/// A node that the device list allows (1:3): only the mount keeps it closed, as it must where there is no such list.
fn layer_devices(guest: &mut Guest) -> Result<(), Failed> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let node = guest.folder.path().join("layer/node");
    mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))?;
    fs::set_permissions(&node, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    for place in [guest.facts.overlay, Some(proa_linux::Lower::Attached)] {
        guest.facts.overlay = place;
        for user in [None, Some(SUBORDINATE)] {
            guest.user = user;
            let ended = guest.shell("cat /dev/null && echo own; cat /node || echo closed")?;
            let whole = ended.output.starts_with("own\n") && ended.output.contains("closed\n");
            expect("only the devices of /dev", whole, &ended.output)?;
        }
    }
    Ok(())
}

fn joined(guest: &mut Guest) -> Result<(), Failed> {
    for user in [None, Some(SUBORDINATE)] {
        guest.user = user;
        let container = guest.start(&["sleep", "1000"])?;
        let mut process = guest.process.clone();
        process.set_args(Some(vec!["sh".into(), "-c".into(), "ps | head -3; id -u; exit 5".into()]));
        let group = format!("{PARENT}/{}", guest.id);
        let join = Join {
            seccomp: None,
            default_filter: true,
            streams: Streams::Pipes { stdin: false },
            group: &group,
            in_user: user.is_some(),
            linux: None,
            keyring: None,
            direct: None,
        };
        let plan = Plan::join(&process, &join, &guest.facts)?;
        let prepared = Prepared::new(&plan)?;
        let fds: Vec<_> = prepared.descriptors.iter().map(AsFd::as_fd).collect();
        let (container_id, exec, given) = (guest.id.clone(), format!("{}/exec", guest.id), prepared.slots);
        let id = exec.clone();
        let request = |ticket| Request::Exec { ticket, id, container: container_id, plan, given };
        let (_, descriptors) = guest.client.ask(request, &fds)?;
        let id = exec.clone();
        guest.client.ask(|ticket| Request::Start { ticket, id }, &[])?;
        let mut output = String::new();
        for fd in descriptors.into_iter().skip(1) {
            rustix::fs::fcntl_setfl(&fd, rustix::fs::OFlags::empty())?;
            fs::File::from(fd).read_to_string(&mut output)?;
        }
        let exit = guest.client.exit(&exec)?;
        expect("the guest's processes and root", output.contains("sleep") && output.ends_with("0\n"), &output)?;
        expect("its status", exit.code == 5, exit)?;
        guest.client.ask(|ticket| Request::Acknowledge { ticket, id: exec }, &[])?;
        proa_linux::send_signal(container[0].as_fd(), 9)?;
        guest.finish(container)?;
    }
    Ok(())
}

/// A first process of ours: it reaps, passes signals on, and ends as the program ended.
fn init(guest: &mut Guest) -> Result<(), Failed> {
    guest.init = true;
    for user in [None, Some(SUBORDINATE)] {
        guest.user = user;
        let ended =
            guest.shell("cat /proc/1/comm; test $$ -ne 1; (sleep 0 &); sleep 0.2; ls /proc | head -3; exit 9")?;
        expect("the program's status", ended.exit.code == 9, ended.exit)?;
        let lines: Vec<&str> = ended.output.lines().collect();
        expect("our init", lines.first() == Some(&"init"), &ended.output)?;
        let descriptors =
            guest.start(&["sh", "-c", "trap 'echo caught; exit 3' TERM; echo up; while :; do sleep 0.05; done"])?;
        rustix::fs::fcntl_setfl(&descriptors[1], rustix::fs::OFlags::empty())?;
        rustix::io::read(&descriptors[1], &mut [0; 3])?;
        proa_linux::send_signal(descriptors[0].as_fd(), 15)?;
        let ended = guest.finish(descriptors)?;
        expect("the signal was passed on", ended.output.ends_with("caught\n"), &ended.output)?;
        expect("its status too", ended.exit.code == 3, ended.exit)?;
        // As process 1 it would ignore what it does not handle.
        let descriptors = guest.start(&["sleep", "1000"])?;
        proa_linux::send_signal(descriptors[0].as_fd(), 15)?;
        let ended = guest.finish(descriptors)?;
        expect("a signal's end is ours", ended.exit.code == 128 + 15, ended.exit)?;
        let refused = guest.run(&["/no/such/program"]);
        expect("a missing program is told", refused.is_err(), refused.is_ok())?;
        guest.client.exit(&guest.id)?;
        guest.forget()?;
    }
    Ok(())
}

/// Another sandbox's process namespace, by path.
fn joins_by_path(guest: &mut Guest) -> Result<(), Failed> {
    let mut donor = Guest::new()?;
    let descriptors = donor.start(&["sleep", "1000"])?;
    let pid = pid_of(&descriptors[0])?;
    let namespace = |kind: &str| json!({ "type": kind, "path": format!("/proc/{pid}/ns/{kind}") });
    let namespaces = json!([{ "type": "mount" }, namespace("ipc"), namespace("pid")]);
    guest.linux.set_namespaces(Some(serde_json::from_value(namespaces)?));
    let ended = guest.shell("cat /proc/1/comm; readlink /proc/self/ns/ipc")?;
    expect("the donor's first process", ended.output.starts_with("sleep\n"), &ended.output)?;
    let ipc = fs::read_link(format!("/proc/{pid}/ns/ipc"))?;
    expect("the donor's objects", ended.output.trim_end().ends_with(&*ipc.to_string_lossy()), &ended.output)?;
    proa_linux::send_signal(descriptors[0].as_fd(), 9)?;
    donor.finish(descriptors).map(drop)
}

fn pid_of(pidfd: &OwnedFd) -> Result<u32, Failed> {
    use std::os::fd::AsRawFd;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:")).ok_or("a pidfd names its process")?;
    Ok(line.trim().parse()?)
}

fn terminal(guest: &mut Guest) -> Result<(), Failed> {
    for user in [None, Some(SUBORDINATE)] {
        guest.user = user;
        guest.process.set_terminal(Some(true));
        let descriptors = guest.start(&["sh", "-c", "ls -l /proc/self/fd/0; test -t 1 && echo yes > /dev/console"])?;
        let exit = guest.client.exit(&guest.id)?;
        let mut buffer = [0; 1024];
        let count = rustix::io::read(&descriptors[1], &mut buffer)?;
        let output = String::from_utf8_lossy(&buffer[..count]).into_owned();
        expect("a terminal of its own", output.contains("/dev/pts/0") && output.contains("yes"), &output)?;
        expect("its status", exit.code == 0, exit)?;
        guest.forget()?;
    }
    Ok(())
}

fn never_started(guest: &mut Guest) -> Result<(), Failed> {
    use rustix::process::{Pid, Signal, kill_process};
    let plan = guest.plan(&["true"])?;
    let prepared = Prepared::new(&plan)?;
    let fds: Vec<_> = prepared.descriptors.iter().map(AsFd::as_fd).collect();
    let (id, given) = (guest.id.clone(), prepared.slots);
    let (event, descriptors) = guest.client.ask(|ticket| Request::Create { ticket, id, plan, given }, &fds)?;
    let Event::Created { pid, .. } = event else { return Err(format!("{event:?}").into()) };
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let zygote = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).and_then(|pid| pid.parse().ok());
    kill_process(zygote.and_then(Pid::from_raw).ok_or("no parent")?, Signal::KILL)?;
    let mut waiting = [rustix::event::PollFd::new(&descriptors[0], rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    let ended = rustix::event::poll(&mut waiting, Some(&patience))?;
    expect("its end", ended == 1, ended)?;
    cgroup::remove(&guest.facts.cgroups, &format!("{PARENT}/{}", guest.id))?;
    cgroup::remove_parent(&guest.facts.cgroups, PARENT);
    Ok(())
}

/// CVE-2026-31431 (AF_ALG) and its kin, by every way of calling.
fn ways_out(guest: &mut Guest) -> Result<(), Failed> {
    probe::build(&guest.folder.path().join("layer/bin/probe"))?;
    for user in [None, Some(SUBORDINATE)] {
        guest.user = user;
        let ended = guest.run(&["probe"])?;
        probe::refused(&probe::answers(&ended.output)?)?;
        let ended = guest.run(&["probe", "int80"])?;
        let answers = probe::answers(&ended.output)?;
        let refused = answers.len() == 4 && answers.values().all(|number| *number == libc::EPERM);
        expect("32-bit calls", refused, answers)?;
    }
    Ok(())
}

fn nothing_left(guest: &mut Guest) -> Result<(), Failed> {
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    guest.run(&["true"])?;
    expect("no mount", fs::read_to_string("/proc/self/mountinfo")? == before, ())?;
    let listed = guest.client.list()?;
    expect("no sandbox", listed.iter().all(|(event, _)| !matches!(event, Event::Item { .. })), listed.len())?;
    let group = format!("{PARENT}/{}", guest.id);
    let gone = guest.facts.cgroups.directories(&group).iter().all(|path: &PathBuf| !Path::new(path).exists());
    expect("no cgroup", gone, group)
}
