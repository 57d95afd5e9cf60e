//! Known ways out of containers that go through the runtime's own process, each tried.

use std::fs;

use libtest_mimic::Failed;
use serde_json::json;

use super::Case;
use super::bundle::Bundle;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("the runtime's program cannot be written through /proc/self/exe (CVE-2019-5736)", own_program),
    ("no descriptor of the runtime's reaches the program (CVE-2016-9962, CVE-2024-21626)", descriptors),
    ("a working directory in the runtime's descriptors is refused (CVE-2024-21626)", working_directory),
    ("a joining process shows the guest no descriptor of the host's (CVE-2016-9962)", joining),
];

/// A script whose interpreter is the runtime's own program: as the first process, and by exec. Whoever executes it gets the
/// runtime once more, and a descriptor of it that was opened meanwhile must not be one to write by.
fn own_program(bundle: &mut Bundle) -> Result<(), Failed> {
    use std::os::unix::fs::PermissionsExt;
    let program = env!("CARGO_BIN_EXE_proa-linux");
    let before = fs::read(program)?;
    let script = bundle.path("rootfs/bin/trap");
    fs::write(&script, "#!/proc/self/exe state x\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    bundle.spec["root"]["readonly"] = json!(false);
    // The guest looks for a process that runs the runtime's program and takes hold of that.
    let watch = "while :; do for exe in /proc/[0-9]*/exe; do case $(readlink $exe) in *proa-linux*) \
                 exec 9<$exe && { echo caught; echo over >/proc/self/fd/9; echo $? >/tmp/wrote; exit; }; esac; done; done";
    bundle.started(&["sh", "-c", watch])?;
    for _ in 0..60 {
        let _ = bundle.program(&["exec", &bundle.id, "/bin/trap"])?;
        if bundle.status()? == "stopped" {
            break;
        }
    }
    if let Ok(outcome) = fs::read_to_string(bundle.path("rootfs/tmp/wrote")) {
        assert_ne!(outcome.trim(), "0", "the guest wrote to the runtime's program");
    }
    assert!(fs::read(program)? == before, "the runtime's program has changed");
    Ok(())
}

fn descriptors(bundle: &mut Bundle) -> Result<(), Failed> {
    let show = "for fd in /proc/self/fd/*; do echo ${fd##*/}; done";
    let ended = bundle.run(&["sh", "-c", show])?.succeeded()?;
    // The fourth is the shell's own, by which it reads the folder.
    assert!(ended.output.lines().filter_map(|line| line.parse::<u32>().ok()).all(|number| number <= 3), "{ended:?}");
    bundle.started(&["sleep", "1000"])?;
    let ended = bundle.program(&["exec", &bundle.id, "sh", "-c", show])?.succeeded()?;
    assert!(ended.output.lines().filter_map(|line| line.parse::<u32>().ok()).all(|number| number <= 3), "{ended:?}");
    Ok(())
}

fn working_directory(bundle: &mut Bundle) -> Result<(), Failed> {
    for number in 3..20 {
        bundle.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        let ended = bundle.run(&["cat", "../../../../etc/hostname"])?;
        ended.refused("directory `/proc/self/fd/");
        assert_eq!(ended.output, "");
    }
    bundle.spec["process"]["cwd"] = json!("/");
    bundle.started(&["sleep", "1000"])?;
    for number in 3..20 {
        let folder = format!("/proc/self/fd/{number}");
        let ended = bundle.program(&["exec", "--cwd", &folder, &bundle.id, "cat", "../../../../etc/hostname"])?;
        ended.refused("change directory to `/proc/self/fd/");
    }
    Ok(())
}

/// While processes join, the guest tries to open what they hold.
fn joining(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["root"]["readonly"] = json!(false);
    let watch = "while [ ! -e /tmp/stop ]; do for fd in /proc/[0-9]*/fd/*; do \
                 case $fd in /proc/1/*) ;; *) ls $fd/. >>/tmp/seen 2>/dev/null;; esac; done; done; echo done >/tmp/done";
    bundle.started(&["sh", "-c", watch])?;
    for _ in 0..20 {
        bundle.program(&["exec", &bundle.id, "/bin/true"])?.succeeded()?;
    }
    fs::write(bundle.path("rootfs/tmp/stop"), "")?;
    bundle.becomes("stopped")?;
    assert_eq!(fs::read_to_string(bundle.path("rootfs/tmp/done"))?, "done\n");
    let seen = fs::read_to_string(bundle.path("rootfs/tmp/seen")).unwrap_or_default();
    assert!(!seen.contains("sbin") && !seen.contains("memory"), "folders of the host were seen: {seen}");
    Ok(())
}
