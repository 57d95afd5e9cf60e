//! What only native guests have: users, host names, terminals, more processes, and a root of their own.

use anyhow::{Result, ensure};
use proa_tests::command::Output;
use proa_tests::{Isolation, Need, Suite, Under, cases, command, guest, wait};

use super::NATIVE;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under(
        NATIVE,
        &[Need::Peer("busybox")],
        cases![
            a_user_is_taken_by_name_and_by_number,
            an_impossible_user_is_refused,
            the_host_name_is_set,
            exec_runs_beside_the_first_process,
            exec_passes_input_output_and_exit_code,
            exec_into_an_ended_container_is_refused,
            a_terminal_is_one,
            pid_1_sees_itself_and_no_other,
            the_network_is_loopback_only,
            the_host_s_network_is_shared_when_asked_for,
            masked_paths_show_nothing,
            read_only_paths_are_not_written,
            mounting_and_new_devices_are_refused,
            new_user_namespaces_are_refused,
            devices_are_docker_s,
            zombies_do_not_stay,
        ],
    );
}

fn sh(under: &Under, flags: &[&str], script: &str) -> Result<Output> {
    let busybox = guest::busybox(under.node)?;
    let begin = ["run", "--rm", "--isolation", under.isolation.name()];
    under.node.proa(&[&begin[..], flags, &[&busybox, "sh", "-c", script]].concat())
}

fn prints(under: &Under, flags: &[&str], script: &str, expected: &str) -> Result<()> {
    let output = sh(under, flags, script)?.success()?;
    ensure!(output.text() == expected, "expected `{expected}`: {output}");
    Ok(())
}

fn a_user_is_taken_by_name_and_by_number(under: &Under) -> Result<()> {
    prints(under, &[], "id -u; id -g", "0\n0")?;
    prints(under, &["-u", "guest"], "id -u; id -g; id -G; echo $HOME", "1000\n1000\n1000 2000\n/home")?;
    prints(under, &["-u", "1000:2000"], "id -u; id -g", "1000\n2000")?;
    prints(under, &["-u", "4321"], "id -u; id -g", "4321\n0")?;
    prints(under, &["-u", "0:guest"], "id -u; id -g", "0\n1000")?;
    Ok(())
}

/// CVE-2024-40635 and CVE-2026-46680: a number beyond 32 bits must never end as root.
fn an_impossible_user_is_refused(under: &Under) -> Result<()> {
    for user in ["4294967296", "2147483648", "99999999999999999999", "-1", "nobodyknows", "0:nogroup-known"] {
        let output = sh(under, &["-u", user], "id -u")?;
        ensure!(output.code() != Some(0), "`{user}` became {output}");
        let code = output.code();
        ensure!(code == Some(125) || code == Some(126), "`{user}`: {output}");
    }
    Ok(())
}

fn the_host_name_is_set(under: &Under) -> Result<()> {
    prints(under, &["--hostname", "boat"], "hostname", "boat")?;
    let busybox = guest::busybox(under.node)?;
    let container = under.node.detached_image(&["--isolation", under.isolation.name()], &busybox, &["hostname"])?;
    ensure!(container.wait()? == 0);
    ensure!(container.logs()?.text() == container.id()[..12], "{}", container.logs()?);
    Ok(())
}

fn resting<'a>(under: &'a Under, busybox: &str) -> Result<proa_tests::Container<'a>> {
    let flags = ["-i", "--isolation", under.isolation.name(), "-e", "FROM_RUN=1"];
    under.node.detached_image(&flags, busybox, &["cat"])
}

fn exec_runs_beside_the_first_process(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let container = resting(under, &busybox)?;
    let output = under.node.proa(&["exec", container.id(), "sh", "-c", "echo $$ $FROM_RUN; cat /proc/1/cmdline"])?;
    let text = output.clone().success()?.text();
    ensure!(!text.starts_with("1 ") && text.contains(" 1\n") && text.ends_with("cat\0"), "{output}");
    let with =
        ["exec", "-e", "MORE=2", "-w", "/tmp", "-u", "guest", container.id(), "sh", "-c", "echo $MORE; pwd; id -u"];
    let output = under.node.proa(&with)?.success()?;
    ensure!(output.text() == "2\n/tmp\n1000", "{output}");
    Ok(())
}

fn exec_passes_input_output_and_exit_code(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let container = resting(under, &busybox)?;
    let input = guest::blob(3_000_000);
    let output = under.node.feed(&["exec", "-i", container.id(), "cat"], &input)?.success()?;
    ensure!(output.stdout == input, "{} of {} bytes came back", output.stdout.len(), input.len());
    let output = under.node.proa(&["exec", container.id(), "sh", "-c", "echo out; echo err >&2; exit 7"])?.exits(7)?;
    ensure!(output.stdout == b"out\n" && output.stderr == b"err\n", "{output}");
    under.node.proa(&["exec", container.id(), "/no/such/program"])?.refused(127, &["/no/such/program"])?;
    under.node.proa(&["exec", container.id(), "/proc"])?.refused(126, &["/proc"])?;
    ensure!(container.inspect()?["State"]["Running"] == true);
    Ok(())
}

fn exec_into_an_ended_container_is_refused(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let container = resting(under, &busybox)?;
    container.proa(&["kill"])?.success()?;
    ensure!(container.wait()? == 137);
    let output = under.node.proa(&["exec", container.id(), "true"])?;
    output.refused(1, &["not running"])?;
    under.node.proa(&["exec", "nosuchcontainer", "true"])?.refused(1, &["no such container"])?;
    Ok(())
}

fn a_terminal_is_one(under: &Under) -> Result<()> {
    let output = sh(under, &["-t"], "test -t 0 && test -t 1 && tty")?.success()?;
    ensure!(output.text().starts_with("/dev/"), "{output}");
    let output = sh(under, &[], "test -t 1")?;
    ensure!(output.code() == Some(1), "{output}");
    Ok(())
}

fn pid_1_sees_itself_and_no_other(under: &Under) -> Result<()> {
    prints(under, &[], "echo $$; for process in /proc/[0-9]*; do echo $process; done", "1\n/proc/1")
}

fn the_network_is_loopback_only(under: &Under) -> Result<()> {
    for network in [&[][..], &["--network", "none"], &["--network", "bridge"]] {
        let output = sh(under, network, "cat /proc/net/dev | grep -c : ; ip addr show lo")?.success()?;
        ensure!(output.text().starts_with('1') && output.text().contains("127.0.0.1"), "{network:?}: {output}");
    }
    Ok(())
}

fn the_host_s_network_is_shared_when_asked_for(under: &Under) -> Result<()> {
    let own = std::fs::read_to_string("/proc/net/dev")?.lines().filter(|line| line.contains(':')).count();
    prints(under, &["--network", "host"], "grep -c : /proc/net/dev", &own.to_string())
}

fn masked_paths_show_nothing(under: &Under) -> Result<()> {
    let script = "for f in kcore keys timer_list sched_debug; do [ -e /proc/$f ] && head -c1 /proc/$f 2>/dev/null | wc -c; \
                  done; ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | grep -c . ";
    let output = sh(under, &[], script)?;
    let all_zero = output.lines().iter().all(|line| line.trim() == "0");
    ensure!(all_zero, "{output}");
    Ok(())
}

fn read_only_paths_are_not_written(under: &Under) -> Result<()> {
    let script = "echo x > /proc/sys/kernel/hostname && echo wrote; echo h > /proc/sysrq-trigger && echo wrote; \
                  echo x > /sys/kernel/uevent_helper && echo wrote; true";
    let output = sh(under, &[], script)?.success()?;
    ensure!(output.stdout.is_empty(), "{output}");
    Ok(())
}

fn mounting_and_new_devices_are_refused(under: &Under) -> Result<()> {
    let script = "mount -t tmpfs x /tmp && echo mounted; mount -o remount,rw /proc/sys && echo remounted; \
                  umount /proc && echo unmounted; mknod /tmp/d c 1 3 && echo made; true";
    let output = sh(under, &[], script)?.success()?;
    ensure!(output.stdout.is_empty(), "{output}");
    Ok(())
}

fn new_user_namespaces_are_refused(under: &Under) -> Result<()> {
    let output = sh(under, &[], "unshare -U true && echo made; unshare -r id && echo made; true")?.success()?;
    ensure!(output.stdout.is_empty(), "{output}");
    Ok(())
}

fn devices_are_docker_s(under: &Under) -> Result<()> {
    let output =
        sh(under, &[], "ls /dev; echo x > /dev/null; head -c4 /dev/zero | wc -c; head -c4 /dev/urandom | wc -c")?;
    let lines = output.clone().success()?.lines();
    for name in [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ] {
        ensure!(lines.iter().any(|line| line == name), "/dev/{name} is missing: {output}");
    }
    ensure!(
        !lines.iter().any(|line| line.starts_with("vd") || line.starts_with("sd") || line == "kmsg" || line == "mem"),
        "{output}"
    );
    Ok(())
}

/// Processes whose parent has gone are PID 1's; a first process that does not wait for them must not harm the stop.
fn zombies_do_not_stay(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let flags = ["--isolation", under.isolation.name()];
    let script = "for i in 1 2 3 4 5; do (sleep 0.01 &) ; done; echo ready; exec sleep 1000";
    let container = under.node.detached_image(&flags, &busybox, &["sh", "-c", script])?;
    container.shows("ready", |logs| logs.contains("ready"))?;
    let outside = container.outside()?;
    container.proa(&["kill"])?.success()?;
    wait::until("none of its processes is left", || Ok(!outside.lives() && outside.descendants().is_empty()))?;
    let mut gone = under.node.command(&["rm", container.id()]);
    command::run(&mut gone, wait::PATIENCE)?.success()?;
    ensure!(under.isolation == Isolation::Linux || under.isolation == Isolation::LinuxUserns);
    Ok(())
}
