//! Containers of an ordinary user: nothing but a user namespace to begin with.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::Case;
use super::bundle::{Bundle, Ended};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("an ordinary user runs a container of his own", own),
    ("an ordinary user's container is created, started, joined and killed", life),
    ("newuidmap and newgidmap give an ordinary user the ids that are his", ranges),
    ("ids that are somebody else's are not given", foreign),
    ("root of an ordinary user's namespace runs containers in it", within),
    ("podman of an ordinary user runs, joins and removes containers", podman),
    ("what an ordinary user cannot have is refused by the field", refusals),
];

/// Of nobody on the machine.
const USER: u32 = 61_234;

/// The program as that user, in a bundle that is his.
fn command(bundle: &Bundle, words: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    let user = USER.to_string();
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
    command.args([&bundle.path("program"), "--root", &bundle.path("state")]).args(words);
    command.current_dir(bundle.path(""));
    command
}

fn program(bundle: &Bundle, words: &[&str]) -> Result<Ended, Failed> {
    bundle.end(&mut command(bundle, words))
}

/// Makes the bundle that user's, with the specification for such.
fn prepare(bundle: &mut Bundle) -> Result<(), Failed> {
    // Another process writes the copy: a file that a thread's child still has open to write is not executed.
    let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_proa-linux"), &bundle.path("program")]).status()?;
    assert!(copied.success());
    fs::remove_file(bundle.path("config.json"))?;
    chown(bundle.path(""), Some(USER), Some(USER))?;
    for path in ["rootfs", "rootfs/tmp", "rootfs/dev", "rootfs/proc", "rootfs/sys", "rootfs/etc"] {
        chown(bundle.path(path), Some(USER), Some(USER))?;
    }
    program(bundle, &["spec", "--rootless"])?.succeeded()?;
    bundle.spec = serde_json::from_str(&fs::read_to_string(bundle.path("config.json"))?)?;
    bundle.spec["process"]["terminal"] = json!(false);
    Ok(())
}

fn run(bundle: &mut Bundle, command: &[&str]) -> Result<Ended, Failed> {
    bundle.runs(command).write()?;
    program(bundle, &["run", &bundle.id])
}

fn own(bundle: &mut Bundle) -> Result<(), Failed> {
    prepare(bundle)?;
    bundle.spec["root"]["readonly"] = json!(false);
    let script = "id -u; id -g; cat /proc/self/uid_map; echo $$; echo x > /dev/null && ls /sys/kernel >/dev/null; \
                  echo made > /tmp/made; cat /proc/self/setgroups; ls /proc/1/fd >/dev/null && echo fine";
    let ended = run(bundle, &["sh", "-c", script])?.succeeded()?;
    let words: Vec<&str> = ended.output.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "0", &USER.to_string(), "1", "1", "deny", "fine"], "{ended:?}");
    use std::os::unix::fs::MetadataExt;
    let made = fs::metadata(bundle.path("rootfs/tmp/made"))?;
    assert_eq!((made.uid(), made.gid()), (USER, USER));
    Ok(())
}

fn life(bundle: &mut Bundle) -> Result<(), Failed> {
    prepare(bundle)?;
    bundle.runs(&["sleep", "1000"]).write()?;
    program(bundle, &["create", &bundle.id])?.succeeded()?;
    program(bundle, &["start", &bundle.id])?.succeeded()?;
    let pid = bundle.state()?["pid"].to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    assert!(status.contains(&format!("Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n")), "{status}");
    let ended = program(bundle, &["exec", &bundle.id, "sh", "-c", "id -u; ps | grep -c '[s]leep 1000'; exit 4"])?;
    assert_eq!((ended.code, ended.output.as_str()), (Some(4), "0\n1\n"), "{ended:?}");
    program(bundle, &["kill", &bundle.id, "KILL"])?.succeeded()?;
    bundle.becomes("stopped")?;
    program(bundle, &["delete", &bundle.id])?.succeeded().map(drop)
}

fn range(inside: u32, outside: u32, size: u32) -> Value {
    json!({ "containerID": inside, "hostID": outside, "size": size })
}

/// `words` of a shell as that user, where /etc says that he exists and has ids of his own, in a mount namespace that ends with
/// them.
fn known(bundle: &Bundle, words: &str) -> Result<Ended, Failed> {
    fs::write(bundle.path("passwd"), format!("root:x:0:0::/:/bin/sh\nordinary:x:{USER}:{USER}::/:/bin/sh\n"))?;
    fs::write(bundle.path("ids"), "ordinary:700000:65536\n")?;
    let files = [("passwd", "/etc/passwd"), ("ids", "/etc/subuid"), ("ids", "/etc/subgid")];
    let binds = files.map(|(own, place)| format!("mount --bind {} {place}", bundle.path(own))).join(" && ");
    let setpriv = format!("setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{binds} && exec {setpriv} {words}")]);
    command.env("HOME", bundle.path("home")).env("XDG_RUNTIME_DIR", bundle.path("run")).env_remove("USER");
    bundle.end(command.current_dir(bundle.path("")))
}

fn run_with_ids(bundle: &mut Bundle, script: &str) -> Result<Ended, Failed> {
    bundle.runs(&["sh", "-c", script]).write()?;
    known(bundle, &format!("{} --root {} run {}", bundle.path("program"), bundle.path("state"), bundle.id))
}

/// As podman makes a user namespace, and calls runtimes in it: they are root there, with what an ordinary user has outside.
fn within(bundle: &mut Bundle) -> Result<(), Failed> {
    prepare(bundle)?;
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().ok_or("no list")?;
    namespaces.retain(|one| one["type"] != "user");
    bundle.spec["linux"]["uidMappings"] = Value::Null;
    bundle.spec["linux"]["gidMappings"] = Value::Null;
    bundle.runs(&["sh", "-c", "id -u; cat /proc/self/uid_map; echo x > /dev/null && echo $$"]).write()?;
    let program = format!("{} run {}", bundle.path("program"), bundle.id);
    fs::create_dir(bundle.path("run"))?;
    chown(bundle.path("run"), Some(USER), Some(USER))?;
    let ended = known(bundle, &format!("unshare --user --map-root-user --mount {program}"))?.succeeded()?;
    let words: Vec<&str> = ended.output.split_whitespace().collect();
    assert_eq!(words, ["0", "0", &USER.to_string(), "1", "1"], "{ended:?}");
    assert_eq!(fs::read_dir(bundle.path("run/proa-linux"))?.count(), 0, "state is left");
    Ok(())
}

fn podman(bundle: &mut Bundle) -> Result<(), Failed> {
    if Command::new("podman").arg("--version").output().is_err() {
        eprintln!("there is no podman: apt install podman");
        return Ok(());
    }
    prepare(bundle)?;
    for name in ["home", "run"] {
        fs::create_dir(bundle.path(name))?;
        chown(bundle.path(name), Some(USER), Some(USER))?;
    }
    let (root, id) = (bundle.path("rootfs"), bundle.id.clone());
    let podman = format!("podman --cgroup-manager cgroupfs --storage-driver vfs --runtime {} ", bundle.path("program"));
    let own = "--network none --ulimit host";
    let outcome = [
        (format!("run --rm {own} --user 5:6 --rootfs {root} sh -c 'id -u; id -g; exit 7'"), 7, "5\n6\n"),
        (format!("run --detach --name {id} {own} --rootfs {root} sh -c 'echo $$; exec sleep 1000'"), 0, ""),
        (format!("exec {id} sh -c 'id -u; cat /proc/1/comm; exit 3'"), 3, "0\nsleep\n"),
        (
            format!(
                "run --rm --network container:{id} --pid container:{id} --ulimit host --rootfs {root} cat /proc/1/comm"
            ),
            0,
            "sleep\n",
        ),
        (format!("rm --force --time 0 {id}"), 0, ""),
    ]
    .into_iter()
    .try_for_each(|(words, code, output)| {
        let ended = known(bundle, &format!("{podman}{words}"))?;
        let as_told = ended.code == Some(code) && ended.output.ends_with(output);
        if as_told { Ok(()) } else { Err(Failed::from(format!("podman {words}: {ended:?}"))) }
    });
    // What keeps podman's user namespace.
    if let Ok(pause) = fs::read_to_string(bundle.path("run/libpod/tmp/pause.pid")) {
        Command::new("kill").args(["-9", pause.trim()]).status()?;
    }
    outcome
}

fn ranges(bundle: &mut Bundle) -> Result<(), Failed> {
    prepare(bundle)?;
    for field in ["uidMappings", "gidMappings"] {
        bundle.spec["linux"][field] = json!([range(0, USER, 1), range(1, 700_000, 65_536)]);
    }
    bundle.spec["process"]["user"] = json!({ "uid": 7, "gid": 8, "additionalGids": [9] });
    let ended = run_with_ids(bundle, "id -u; id -g; id -G; cat /proc/self/uid_map; cat /proc/self/setgroups")?;
    let words: Vec<&str> = ended.output.split_whitespace().collect();
    let user = USER.to_string();
    let expected = ["7", "8", "8", "9", "0", &user, "1", "1", "700000", "65536", "allow"];
    assert_eq!(words, expected, "{ended:?}");
    Ok(())
}

fn foreign(bundle: &mut Bundle) -> Result<(), Failed> {
    prepare(bundle)?;
    for field in ["uidMappings", "gidMappings"] {
        bundle.spec["linux"][field] = json!([range(0, USER, 1), range(1, 1, 1000)]);
    }
    let ended = run_with_ids(bundle, "true")?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.error.contains("by newuidmap") && ended.error.contains("peration not permitted"), "{ended:?}");
    Ok(())
}

fn refusals(bundle: &mut Bundle) -> Result<(), Failed> {
    prepare(bundle)?;
    bundle.spec["process"]["user"]["additionalGids"] = json!([0]);
    run(bundle, &["true"])?.refused("`process.user.additionalGids`: a user without CAP_SETGID and newgidmap");
    bundle.spec["process"]["user"] = json!({ "uid": 0, "gid": 0 });
    bundle.spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "pid" }, { "type": "uts" }]);
    bundle.spec["linux"]["uidMappings"] = Value::Null;
    bundle.spec["linux"]["gidMappings"] = Value::Null;
    run(bundle, &["true"])?.refused("`linux.namespaces` has no user namespace, without which a user who lacks");
    Ok(())
}
