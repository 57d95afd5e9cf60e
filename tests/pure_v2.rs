//! Cgroups v2 alone, on the kernel Debian 12 gives (6.1): a machine of its own, emulated, since the one the suites run
//! on may have v1 or both. The machine boots once, runs `pure_v2/machine.sh`, and each case here judges a part of it.
//! It shows what other kernels than the newest take: CLONE_INTO_CGROUP, controllers handed down from the root, overlays
//! of attached layers.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{Result, anyhow, ensure};
use proa_tests::machine::{self, DISK_MAKER, EMULATOR, Step, Transcript};
use proa_tests::{Isolation, Need, cases, harness};

static NEEDS: [Need; 4] = [Need::Peer(EMULATOR), Need::Peer(DISK_MAKER), Need::Peer("busybox"), Need::Kernel];
const NATIVE: [Isolation; 2] = [Isolation::Linux, Isolation::LinuxUserns];

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        suite.add(
            &NEEDS,
            cases![
                the_machine_has_cgroups_v2_alone,
                hello_runs_under_every_isolation,
                exit_codes_come_back,
                too_much_memory_is_killed_and_told,
                processes_are_bounded,
                bounds_stand_in_the_group_and_are_seen_from_inside,
                a_held_guest_stands_still_and_can_be_killed,
                bounds_are_changed_while_it_runs,
                a_worker_of_its_own_is_bound_by_its_group,
                a_read_only_root_has_its_working_directory,
                no_device_of_the_machine_is_opened,
                what_root_in_a_user_namespace_makes_is_nobodys,
                a_wasm_guest_owns_its_folder_or_is_refused_it,
                a_root_in_memory_is_good_for_linux_and_refused_to_user_namespaces,
                guests_survive_their_host,
                nothing_is_left_after_the_stop,
            ],
        );
    })
}

fn step(name: &str) -> Result<&'static Step> {
    static SAID: OnceLock<Result<Transcript, String>> = OnceLock::new();
    let boot = || machine::boot(include_str!("pure_v2/machine.sh"));
    let said = SAID.get_or_init(|| boot().map_err(|error| format!("{error:#}")));
    said.as_ref().map_err(|error| anyhow!("the machine did not run: {error}"))?.step(name)
}

/// The step, if it ended with `code` and said `text`.
fn says(name: &str, code: i32, text: &str) -> Result<()> {
    let step = step(name)?;
    ensure!(step.code == code && step.text == text, "`{name}`: expected {code} and `{text}`, not {step:?}");
    Ok(())
}

fn the_machine_has_cgroups_v2_alone() -> Result<()> {
    let machine = step("machine")?;
    let lines: Vec<&str> = machine.text.lines().collect();
    ensure!(lines.len() == 4 && lines[0].starts_with("6.1."), "{machine:?}");
    ensure!(lines[2..] == ["1", "0"], "one v2 hierarchy and none of v1: {machine:?}");
    for controller in ["memory", "cpu", "pids"] {
        ensure!(lines[1].split(' ').any(|name| name == controller), "no `{controller}`: {machine:?}");
    }
    says("host", 0, "")?;
    says("host-log", 0, "")
}

fn hello_runs_under_every_isolation() -> Result<()> {
    for isolation in Isolation::ALL {
        says(&format!("hello-{isolation}"), 0, &format!("hello from {isolation}"))?;
    }
    Ok(())
}

fn exit_codes_come_back() -> Result<()> {
    NATIVE.iter().try_for_each(|isolation| says(&format!("code-{isolation}"), 7, ""))
}

fn too_much_memory_is_killed_and_told() -> Result<()> {
    for isolation in NATIVE {
        let killed = step(&format!("oom-{isolation}"))?;
        ensure!(killed.code == 137 && killed.text.contains("\"OOMKilled\": true"), "{isolation}: {killed:?}");
        ensure!(!killed.text.contains("allocated"), "{isolation}: {killed:?}");
    }
    Ok(())
}

fn processes_are_bounded() -> Result<()> {
    for isolation in NATIVE {
        let few = step(&format!("few-{isolation}"))?;
        ensure!(few.code != 0 && few.text.contains("fork") && !few.text.contains("all"), "{isolation}: {few:?}");
        says(&format!("many-{isolation}"), 0, "all")?;
    }
    Ok(())
}

fn bounds_stand_in_the_group_and_are_seen_from_inside() -> Result<()> {
    for isolation in NATIVE {
        let bounds = step(&format!("bounds-{isolation}"))?;
        for side in ["outside", "inside"] {
            for value in ["cpu.max 25000 100000", "memory.max 67108864", "pids.max 50"] {
                let line = format!("{side} {value}");
                ensure!(bounds.text.lines().any(|said| said == line), "{isolation}: no `{line}`: {bounds:?}");
            }
        }
        for line in ["view 0::/", "members 1"] {
            ensure!(bounds.text.lines().any(|said| said == line), "{isolation}: no `{line}`: {bounds:?}");
        }
        ensure!(bounds.text.contains("Read-only file system"), "a guest may not lift its bounds: {bounds:?}");
        ensure!(bounds.code == 0, "the group goes with its container: {bounds:?}");
    }
    Ok(())
}

fn a_held_guest_stands_still_and_can_be_killed() -> Result<()> {
    for isolation in NATIVE {
        let expected = "held 1 frozen 1\ncounted 0\nfree 0\ncode 137";
        says(&format!("held-{isolation}"), 0, expected)?;
    }
    Ok(())
}

fn bounds_are_changed_while_it_runs() -> Result<()> {
    for isolation in NATIVE {
        let changed = step(&format!("other-bounds-{isolation}"))?;
        for line in ["memory.max 100663296", "cpu.max 50000 100000", "pids.max 40", "without max"] {
            ensure!(changed.text.lines().any(|said| said == line), "{isolation}: no `{line}`: {changed:?}");
        }
        // A kernel without swap accounting has no such file.
        let swap = changed.text.lines().find(|line| line.starts_with("memory.swap.max ")).unwrap_or_default();
        ensure!(["memory.swap.max 33554432", "memory.swap.max "].contains(&swap), "{isolation}: {changed:?}");
    }
    Ok(())
}

fn a_worker_of_its_own_is_bound_by_its_group() -> Result<()> {
    let bounds = step("bounds-wasm-process")?;
    ensure!(bounds.text.lines().any(|line| line == "25000 100000"), "{bounds:?}");
    Ok(())
}

fn a_read_only_root_has_its_working_directory() -> Result<()> {
    says("read-only", 0, "/not/there")
}

/// There is no controller for this in v2: a program of eBPF is on the group.
fn no_device_of_the_machine_is_opened() -> Result<()> {
    for isolation in NATIVE {
        let devices = step(&format!("devices-{isolation}"))?;
        let refused = |line: &&str| line.contains("not permitted") || line.contains("ermission denied");
        ensure!(devices.text.lines().filter(|line| *line == "own" || *line == "theirs").count() == 2, "{devices:?}");
        ensure!(devices.text.lines().filter(refused).count() == 3, "{devices:?}");
    }
    ensure!(step("devices-linux")?.text.contains("not permitted"), "root is kept by the group, not by owners");
    Ok(())
}

fn what_root_in_a_user_namespace_makes_is_nobodys() -> Result<()> {
    let owners = step("owners")?;
    let has = |line: &str| owners.text.lines().any(|said| said.split_whitespace().eq(line.split_whitespace()));
    for line in ["made 100000", "map 0 100000 65536", "image 0", "logs 0", "0", "exec 0"] {
        ensure!(has(line), "no `{line}`: {owners:?}");
    }
    ensure!(!owners.text.contains("volume"), "a folder of the node's root was written: {owners:?}");
    Ok(())
}

/// Linux 6.1 translates owners on ext4 and not on tmpfs.
fn a_wasm_guest_owns_its_folder_or_is_refused_it() -> Result<()> {
    says("volume-wasm", 0, "7 8\ntext")?;
    let refused = step("volume-tmpfs")?;
    let sentence =
        "give `/tmp` to a Wasm guest: prepare a directory: its file system has no mounts with translated owners";
    ensure!(refused.code == 125 && refused.text.contains(sentence), "{refused:?}");
    Ok(())
}

/// Linux 6.1 has overlays on tmpfs, and no translated owners there.
fn a_root_in_memory_is_good_for_linux_and_refused_to_user_namespaces() -> Result<()> {
    says("memory-host", 0, "")?;
    says("memory-linux", 0, "layers in memory")?;
    let refused = step("memory-linux-userns")?;
    let sentence = "its file system has no mounts with translated owners";
    ensure!(refused.code == 125 && refused.text.contains(sentence), "{refused:?}");
    says("memory-leftovers", 0, "")
}

fn guests_survive_their_host() -> Result<()> {
    for isolation in ["linux", "wasm"] {
        let survival = step(&format!("survival-{isolation}"))?;
        ensure!(survival.code == 0 && survival.text.len() == 64, "it is listed again by its id: {survival:?}");
    }
    Ok(())
}

fn nothing_is_left_after_the_stop() -> Result<()> {
    says("leftovers", 0, "")
}
