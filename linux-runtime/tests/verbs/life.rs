//! A container's life by its verbs.

use std::fs;

use libtest_mimic::Failed;
use serde_json::json;

use super::Case;
use super::bundle::Bundle;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("run gives the program's output and exit status, and leaves nothing", run),
    ("create, start, kill and delete are the life of a container", life),
    ("a created container that was never started is deleted", never_started),
    ("a program that does not exist is refused by create", missing_program),
    ("a second container of an id is refused and the first goes on", same_id),
    ("a running container is deleted by force alone", force),
    ("pause stops it, resume lets it go on", pause),
    ("update changes a limit", update),
    ("all processes get a signal that is for all", kill_all),
    ("run passes signals on", signals),
    ("a signal that the caller ignores is not ignored by the program", ignored_signals),
    ("run keeps the state when asked to", keep),
    ("run --detach comes back when the program runs", detach),
    ("descriptors are kept that are asked for, and no others", preserved),
    ("sockets that the caller was started with reach the program", listening),
    ("a group of the caller's naming is used, and removed", cgroups_path),
    ("failures stand in the log as the engines read it", log),
    ("a container without a pid namespace is ended as a whole", shared_pids),
];

fn run(bundle: &mut Bundle) -> Result<(), Failed> {
    let ended = bundle.run(&["sh", "-c", "echo out; echo err >&2; exit 7"])?;
    assert_eq!((ended.code, ended.output.as_str(), ended.error.as_str()), (Some(7), "out\n", "err\n"));
    let ended = bundle.run(&["sh", "-c", "kill -9 $$"])?;
    // The first process of a namespace is not killed by itself, so its end is its own.
    assert_eq!(ended.code, Some(0));
    bundle.program(&["state", &bundle.id])?.refused("does not exist");
    Ok(())
}

fn life(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["sleep", "1000"]).write()?;
    bundle.program(&["create", "--pid-file", &bundle.path("pid"), &bundle.id])?.succeeded()?;
    let state = bundle.state()?;
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"].to_string(), fs::read_to_string(bundle.path("pid"))?);
    assert_eq!(state["bundle"], fs::canonicalize(bundle.path(""))?.display().to_string());
    bundle.program(&["start", &bundle.id])?.succeeded()?;
    assert_eq!(bundle.status()?, "running");
    bundle.program(&["start", &bundle.id])?.refused("already running");
    let listed = bundle.program(&["ps", "--format", "json", &bundle.id])?.succeeded()?.output;
    assert_eq!(listed.trim(), format!("[{}]", state["pid"]));
    bundle.program(&["kill", &bundle.id, "KILL"])?.succeeded()?;
    bundle.becomes("stopped")?;
    assert_eq!(bundle.state()?["pid"], 0);
    bundle.program(&["kill", &bundle.id])?.refused("container not running");
    bundle.program(&["start", &bundle.id])?.refused("has stopped");
    bundle.program(&["exec", &bundle.id, "true"])?.refused("stopped");
    bundle.program(&["delete", &bundle.id])?.succeeded()?;
    bundle.program(&["delete", &bundle.id])?.refused("does not exist");
    Ok(())
}

fn never_started(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["true"]).write()?;
    bundle.program(&["create", &bundle.id])?.succeeded()?;
    bundle.program(&["delete", &bundle.id])?.succeeded()?;
    bundle.program(&["state", &bundle.id])?.refused("does not exist");
    Ok(())
}

fn missing_program(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["no-such-program"]).write()?;
    bundle.program(&["create", &bundle.id])?.refused("find `no-such-program`: no such file or directory");
    fs::write(bundle.path("rootfs/etc/plain"), "text")?;
    bundle.runs(&["/etc/plain"]).write()?;
    bundle.program(&["create", &bundle.id])?.refused("find `/etc/plain`: permission denied");
    bundle.program(&["run", &bundle.id])?.refused("execute `/etc/plain`: permission denied");
    Ok(())
}

fn same_id(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    bundle.program(&["create", &bundle.id])?.refused("already exists");
    assert_eq!(bundle.status()?, "running");
    bundle.program(&["create", "../escape"])?.refused("invalid id");
    Ok(())
}

fn force(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    bundle.program(&["delete", &bundle.id])?.refused("not stopped: running");
    bundle.program(&["delete", "--force", &bundle.id])?.succeeded()?;
    bundle.program(&["state", &bundle.id])?.refused("does not exist");
    bundle.program(&["delete", "--force", &bundle.id])?.succeeded()?;
    Ok(())
}

fn pause(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    bundle.program(&["resume", &bundle.id])?.refused("not paused");
    bundle.program(&["pause", &bundle.id])?.succeeded()?;
    assert_eq!(bundle.status()?, "paused");
    bundle.program(&["exec", &bundle.id, "true"])?.refused("paused");
    bundle.program(&["resume", &bundle.id])?.succeeded()?;
    assert_eq!(bundle.status()?, "running");
    bundle.program(&["exec", &bundle.id, "true"])?.succeeded()?;
    bundle.program(&["pause", &bundle.id])?.succeeded()?;
    // What is paused dies all the same.
    bundle.program(&["delete", "--force", &bundle.id])?.succeeded()?;
    Ok(())
}

fn update(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    bundle.program(&["update", "--pids-limit", "77", "--memory", "64m", &bundle.id])?.succeeded()?;
    let show = "grep -h . /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null";
    let shown = bundle.program(&["exec", &bundle.id, "sh", "-c", show])?.output;
    assert_eq!(shown.trim(), "77");
    bundle.program(&["update", "--memory", "much", &bundle.id])?.refused("`much` is no number of bytes");
    Ok(())
}

fn kill_all(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sh", "-c", "sleep 1000 & sleep 1000 & wait; while :; do sleep 1000; done"])?;
    let count = || -> Result<usize, Failed> {
        let listed = bundle.program(&["ps", "--format", "json", &bundle.id])?.succeeded()?.output;
        Ok(serde_json::from_str::<Vec<u32>>(&listed)?.len())
    };
    while count()? != 3 {}
    bundle.program(&["kill", "--all", &bundle.id, "TERM"])?.succeeded()?;
    // Both sleepers end; the shell, the first process, does not mind TERM and goes on with one more.
    while count()? != 2 {}
    bundle.program(&["kill", "--all", &bundle.id, "KILL"])?.succeeded()?;
    bundle.becomes("stopped")
}

fn signals(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["sh", "-c", "trap 'exit 42' TERM; echo ready; while :; do sleep 0.01; done"]).write()?;
    let mut child = bundle.command(&["run", &bundle.id]).stdout(std::process::Stdio::piped()).spawn()?;
    let mut line = String::new();
    let output = child.stdout.take().ok_or("no output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)?;
    assert_eq!(line, "ready\n");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    assert_eq!(child.wait()?.code(), Some(42));
    Ok(())
}

fn ignored_signals(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["grep", "SigIgn", "/proc/self/status"]).write()?;
    let program = bundle.command(&["run", &bundle.id]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP INT TERM USR1; exec \"$0\" \"$@\""]);
    command.arg(program.get_program()).args(program.get_args()).current_dir(bundle.path(""));
    let ended = bundle.end(&mut command)?.succeeded()?;
    assert_eq!(ended.output, "SigIgn:\t0000000000000000\n");
    Ok(())
}

fn keep(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["sh", "-c", "exit 3"]).write()?;
    assert_eq!(bundle.program(&["run", "--keep", &bundle.id])?.code, Some(3));
    assert_eq!(bundle.status()?, "stopped");
    bundle.program(&["delete", &bundle.id])?.succeeded().map(drop)
}

fn detach(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["sleep", "1000"]).write()?;
    bundle.program(&["run", "--detach", "--pid-file", &bundle.path("pid"), &bundle.id])?.succeeded()?;
    assert_eq!(bundle.status()?, "running");
    bundle.runs(&["no-such-program"]).write()?;
    let other = format!("{}-other", bundle.id);
    bundle.program(&["run", "--detach", &other])?.refused("no such file or directory");
    bundle.program(&["state", &other])?.refused("does not exist");
    Ok(())
}

fn preserved(bundle: &mut Bundle) -> Result<(), Failed> {
    let show = "for fd in /proc/self/fd/*; do readlink $fd; done; cat <&3";
    bundle.runs(&["sh", "-c", show]).write()?;
    fs::write(bundle.path("kept"), "kept\n")?;
    let with = |words: &[&str]| {
        let program = bundle.command(words);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "exec 3<kept 4<config.json; exec \"$0\" \"$@\""]);
        command.arg(program.get_program()).args(program.get_args()).current_dir(bundle.path(""));
        bundle.end(&mut command)
    };
    let ended = with(&["run", "--preserve-fds", "1", &bundle.id])?.succeeded()?;
    assert!(ended.output.ends_with("kept\n") && !ended.output.contains("config.json"), "{ended:?}");
    let ended = with(&["run", &bundle.id])?;
    assert!(!ended.output.contains("kept") && !ended.output.contains("config.json"), "{ended:?}");
    with(&["run", "--preserve-fds", "200", &bundle.id])?.refused("is not open");
    Ok(())
}

fn listening(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3"]).write()?;
    fs::write(bundle.path("kept"), "kept\n")?;
    let program = bundle.command(&["run", &bundle.id]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec 3<kept; exec \"$0\" \"$@\""]).env("LISTEN_FDS", "1").env("LISTEN_PID", "77");
    command.arg(program.get_program()).args(program.get_args()).current_dir(bundle.path(""));
    assert_eq!(bundle.end(&mut command)?.succeeded()?.output, "1 1\nkept\n");
    Ok(())
}

fn cgroups_path(bundle: &mut Bundle) -> Result<(), Failed> {
    let path = format!("/proa-linux-verbs/{}/deep", bundle.id);
    bundle.spec["linux"]["cgroupsPath"] = json!(path);
    let ended = bundle.run(&["cat", "/proc/1/cgroup"])?.succeeded()?;
    // Seen from its own namespace it stands at the root.
    assert!(ended.output.lines().any(|line| line.ends_with(":/")), "{ended:?}");
    bundle.started(&["sleep", "1000"])?;
    let outside = fs::read_to_string(format!("/proc/{}/cgroup", bundle.state()?["pid"]))?;
    assert!(outside.contains(&path), "{outside}");
    bundle.program(&["delete", "--force", &bundle.id])?.succeeded()?;
    bundle.spec["linux"]["cgroupsPath"] = json!("/..");
    bundle.write()?;
    bundle.program(&["create", &bundle.id])?.refused("`linux.cgroupsPath`");
    Ok(())
}

fn log(bundle: &mut Bundle) -> Result<(), Failed> {
    let log = bundle.path("log");
    bundle.program(&["--log", &log, "--log-format", "json", "state", "nobody"])?.refused("does not exist");
    let line: serde_json::Value = serde_json::from_str(fs::read_to_string(&log)?.trim())?;
    assert_eq!((&line["level"], &line["msg"]), (&json!("error"), &json!("container `nobody` does not exist")));
    assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    Ok(())
}

fn shared_pids(bundle: &mut Bundle) -> Result<(), Failed> {
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().ok_or("no namespaces")?;
    namespaces.retain(|one| one["type"] != "pid");
    bundle.started(&["sh", "-c", "sleep 1000 & wait"])?;
    let listed = || -> Result<Vec<u32>, Failed> {
        let listed = bundle.program(&["ps", "--format", "json", &bundle.id])?.succeeded()?.output;
        Ok(serde_json::from_str(&listed)?)
    };
    while listed()?.len() != 2 {}
    bundle.program(&["kill", &bundle.id, "KILL"])?.succeeded()?;
    bundle.becomes("stopped")?;
    while !listed()?.is_empty() {}
    Ok(())
}
