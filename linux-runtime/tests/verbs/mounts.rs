//! What a container sees: its root, its mounts, its devices, as the kernel shows them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use libtest_mimic::Failed;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

use super::Case;
use super::bundle::{Bundle, Ended};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a bind mount's options are the mount's", bind_options),
    ("attributes go below a recursive bind mount only where that is asked", below),
    ("files, sockets and devices are bound, a relative source is the bundle's", sources),
    ("a tmpfs takes the mode of what it covers", tmpfs_mode),
    ("a tmpfs begins with what it covers where that is asked", copy_up),
    ("file systems of any type are mounted, by fsconfig and by mount(2)", any_type),
    ("what is mounted already can change", remount),
    ("a mount's owners are translated as the mount says", translated),
    ("a mount's owners are translated as the container's", translated_as_the_container),
    ("a slave hears of the host's mounts, others do not", slave),
    ("a shared mount tells the host of its own", shared),
    ("the root spreads as it is told", root_propagation),
    ("a root can be entered without pivot_root", no_pivot),
    ("devices stand in the root's own /dev", root_dev),
    ("the host's /dev is left as it is", bound_dev),
    ("a bundle's devices are opened as far as they are allowed", bundle_devices),
    ("a user namespace has its bundle's owners and its devices", user_namespace),
    ("cgroups are seen without a namespace of their own", cgroups),
    ("a link of the image that leads nowhere is no obstacle", dangling),
];

fn add(bundle: &mut Bundle, mount: Value) {
    bundle.spec["mounts"].as_array_mut().unwrap().push(mount);
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}

/// The line of mountinfo (proc(5)) of a place, without its numbers.
fn mounted(bundle: &mut Bundle, place: &str) -> Result<String, Failed> {
    let ended = bundle.run(&["cat", "/proc/self/mountinfo"])?.succeeded()?;
    let line = ended.output.lines().rfind(|line| line.split(' ').nth(4) == Some(place));
    Ok(line.ok_or_else(|| format!("nothing at {place}: {}", ended.output))?.to_owned())
}

/// Runs a script of the host's in mounts of its own; `$PROA` is the program with its words, `$ID` the container.
fn elsewhere(bundle: &Bundle, propagation: &str, script: &str) -> Result<Ended, Failed> {
    let program = format!("{} --root {}", env!("CARGO_BIN_EXE_proa-linux"), bundle.path("state"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", propagation, "sh", "-ec", script]);
    command.env("PROA", program).env("ID", &bundle.id).current_dir(bundle.path(""));
    bundle.end(&mut command)
}

fn bind_options(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::create_dir(bundle.path("source"))?;
    let original = bundle.spec["mounts"].clone();
    let cases: [(&[&str], &str); 8] = [
        (&["bind"], " rw,relatime -"),
        (&["bind", "ro", "nosuid", "nodev", "noexec"], " ro,nosuid,nodev,noexec,relatime -"),
        (&["rbind", "ro", "rw", "nodev", "dev"], " rw,relatime -"),
        (&["bind", "noatime", "nodiratime"], " rw,noatime,nodiratime -"),
        (&["bind", "strictatime"], " rw -"),
        (&["bind", "nosymfollow", ""], " rw,relatime,nosymfollow -"),
        (&["bind", "rro", "rnosuid"], " ro,nosuid,relatime -"),
        (&["bind", "unbindable"], " rw,relatime unbindable -"),
    ];
    for (options, expected) in cases {
        bundle.spec["mounts"] = original.clone();
        add(bundle, bind(&bundle.path("source"), "/data", options));
        let line = mounted(bundle, "/data")?;
        assert!(line.contains(expected), "{options:?}: {line}");
    }
    Ok(())
}

fn below(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::create_dir_all(bundle.path("source/below"))?;
    let original = bundle.spec["mounts"].clone();
    let script = "mount -t tmpfs none source/below; $PROA run $ID";
    let try_both = "touch /data/file && echo own; touch /data/below/file && echo below; true";
    for (options, writable) in
        [(["rbind", "ro"], "below\n"), (["rbind", "rro"], ""), (["rbind", "rw"], "own\nbelow\n"), (["bind", "ro"], "")]
    {
        bundle.spec["mounts"] = original.clone();
        add(bundle, bind(&bundle.path("source"), "/data", &options));
        bundle.runs(&["/bin/busybox", "sh", "-c", &try_both.replace("touch", "/bin/busybox touch")]).write()?;
        let ended = elsewhere(bundle, "private", script)?.succeeded()?;
        assert_eq!(ended.output, writable, "{options:?}");
    }
    Ok(())
}

fn sources(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::write(bundle.path("file"), "content\n")?;
    let _listener = std::os::unix::net::UnixListener::bind(bundle.path("socket"))?;
    add(bundle, bind("file", "/new/place/file", &["bind"]));
    add(bundle, bind("socket", "/run/socket", &["bind"]));
    add(bundle, bind("/dev/zero", "/tmp/zero", &["bind"]));
    bundle.spec["root"]["readonly"] = json!(false);
    let script = "cat /new/place/file; test -S /run/socket && echo socket; test -c /tmp/zero && echo device";
    let ended = bundle.run(&["sh", "-c", script])?.succeeded()?;
    assert_eq!(ended.output, "content\nsocket\ndevice\n");
    add(bundle, bind("nothing", "/nothing", &["bind"]));
    bundle.run(&["true"])?.refused("/nothing`");
    Ok(())
}

fn tmpfs_mode(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::set_permissions(bundle.path("rootfs/tmp"), fs::Permissions::from_mode(0o1770))?;
    bundle.spec["root"]["readonly"] = json!(false);
    add(bundle, json!({ "destination": "/tmp", "type": "tmpfs" }));
    add(bundle, json!({ "destination": "/etc", "type": "tmpfs", "options": ["mode=0711", "size=64k"] }));
    add(bundle, json!({ "destination": "/fresh", "type": "tmpfs" }));
    let ended = bundle.run(&["/bin/busybox", "stat", "-c", "%a", "/tmp", "/etc", "/fresh"])?.succeeded()?;
    assert_eq!(ended.output, "1770\n711\n755\n");
    Ok(())
}

fn copy_up(bundle: &mut Bundle) -> Result<(), Failed> {
    let path = |name: &str| bundle.path(&format!("rootfs/var/{name}"));
    fs::create_dir_all(path("deep/er"))?;
    fs::write(path("deep/er/file"), "kept\n")?;
    fs::set_permissions(path("deep/er/file"), fs::Permissions::from_mode(0o4755))?;
    chown(path("deep/er/file"), Some(12), Some(34))?;
    fs::set_permissions(path("deep/er/file"), fs::Permissions::from_mode(0o4755))?;
    symlink("/etc/shadow", path("link"))?;
    mknodat(CWD, path("fifo").as_str(), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    fs::write(path("large"), vec![b'x'; 3 << 20])?;
    let original = bundle.spec["mounts"].clone();
    let script = "cd /var; cat deep/er/file; readlink link; test -p fifo && echo fifo; \
                  /bin/busybox stat -c '%a %u %g' deep/er/file; /bin/busybox wc -c < large; \
                  grep ' /var ' /proc/self/mountinfo | grep -o 'tmpfs'; echo more > new && cat new";
    add(bundle, json!({ "destination": "/var", "type": "tmpfs", "options": ["tmpcopyup"] }));
    let ended = bundle.run(&["sh", "-c", script])?;
    let expected = "kept\n/etc/shadow\nfifo\n4755 12 34\n3145728\ntmpfs\nmore\n";
    assert_eq!(ended.output, expected, "{ended:?}");
    assert!(fs::metadata(bundle.path("rootfs/var/new")).is_err(), "the root itself is not written");
    bundle.spec["mounts"] = original;
    add(bundle, json!({ "destination": "/var", "type": "tmpfs", "options": ["tmpcopyup", "ro"] }));
    let ended = bundle.run(&["sh", "-c", "cat /var/deep/er/file; echo more > /var/new"])?;
    assert!(ended.output == "kept\n" && ended.error.contains("Read-only"), "{ended:?}");
    Ok(())
}

fn any_type(bundle: &mut Bundle) -> Result<(), Failed> {
    let deep = format!("lower/{}", "a-rather-long-name/".repeat(14));
    for folder in ["short", "upper", "work", deep.as_str()] {
        fs::create_dir_all(bundle.path(folder))?;
    }
    fs::write(bundle.path("short/file"), "short\n")?;
    fs::write(format!("{}/file", bundle.path(&deep)), "long\n")?;
    let (upper, work) = (format!("upperdir={}", bundle.path("upper")), format!("workdir={}", bundle.path("work")));
    let original = bundle.spec["mounts"].clone();
    for (lower, expected) in [(bundle.path("short"), "short\n"), (bundle.path(&deep), "long\n")] {
        let options = json!([format!("lowerdir={lower}"), upper, work]);
        bundle.spec["mounts"] = original.clone();
        add(bundle, json!({ "destination": "/data", "type": "overlay", "source": "overlay", "options": options }));
        assert_eq!(bundle.run(&["cat", "/data/file"])?.succeeded()?.output, expected);
    }
    bundle.spec["mounts"] = original.clone();
    add(bundle, json!({ "destination": "/data", "type": "tmpfs", "options": ["sync", "lazytime", "size=64k"] }));
    let line = mounted(bundle, "/data")?;
    assert!(line.contains("sync") && line.contains("lazytime") && line.contains("size=64k"), "{line}");
    bundle.spec["mounts"] = original.clone();
    let options = json!(["silent", "iversion", "noexec", "mode=700", "dirsync"]);
    add(bundle, json!({ "destination": "/data", "type": "tmpfs", "source": "named", "options": options }));
    let line = mounted(bundle, "/data")?;
    assert!(line.contains(" tmpfs named ") && line.contains("noexec") && line.contains("dirsync"), "{line}");
    bundle.spec["mounts"] = original;
    add(bundle, json!({ "destination": "/data", "type": "nosuchfs" }));
    bundle.run(&["true"])?.refused("mount `nosuchfs` at `/data`");
    Ok(())
}

fn remount(bundle: &mut Bundle) -> Result<(), Failed> {
    let original = bundle.spec["mounts"].clone();
    add(bundle, bind("rootfs", "/data", &["bind"]));
    add(bundle, json!({ "destination": "/data", "options": ["bind", "remount", "ro", "noexec"] }));
    assert!(mounted(bundle, "/data")?.contains(" ro,noexec,relatime -"));
    bundle.spec["mounts"] = original.clone();
    add(bundle, json!({ "destination": "/data", "type": "tmpfs", "options": ["size=64k"] }));
    add(bundle, json!({ "destination": "/data", "options": ["remount", "size=128k", "nosuid"] }));
    let line = mounted(bundle, "/data")?;
    assert!(line.contains("size=128k") && line.contains("nosuid"), "{line}");
    // What is no mount has no attributes of its own: the change would be another mount's.
    bundle.spec["mounts"] = original;
    add(bundle, json!({ "destination": "/etc", "options": ["bind", "remount", "ro"] }));
    bundle.run(&["true"])?.refused("change the mount at `/etc`, ro: invalid argument");
    Ok(())
}

fn translated(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::create_dir(bundle.path("source"))?;
    for (name, owner) in [("root", 0), ("user", 10), ("none", 500)] {
        fs::write(bundle.path(&format!("source/{name}")), "")?;
        chown(bundle.path(&format!("source/{name}")), Some(owner), Some(owner))?;
    }
    let maps = json!([{ "containerID": 0, "hostID": 1000, "size": 5 }, { "containerID": 10, "hostID": 7, "size": 1 }]);
    let mut mount = bind(&bundle.path("source"), "/data", &["bind", "idmap"]);
    (mount["uidMappings"], mount["gidMappings"]) = (maps.clone(), maps);
    add(bundle, mount);
    let ended = bundle.run(&["/bin/busybox", "stat", "-c", "%u %g", "/data/root", "/data/user", "/data/none"])?;
    assert_eq!(ended.succeeded()?.output, "1000 1000\n7 7\n65534 65534\n");
    Ok(())
}

/// A user namespace over the bundle, whose owners are those of the namespace's users.
fn mapped(bundle: &mut Bundle) -> Result<(), Failed> {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    (bundle.spec["linux"]["uidMappings"], bundle.spec["linux"]["gidMappings"]) = (map.clone(), map);
    let changed = Command::new("chown").args(["-Rh", "100000:100000", &bundle.path("rootfs")]).status()?;
    assert!(changed.success());
    // The user must reach the root through the folders above it.
    fs::set_permissions(bundle.path(""), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn translated_as_the_container(bundle: &mut Bundle) -> Result<(), Failed> {
    mapped(bundle)?;
    fs::create_dir(bundle.path("source"))?;
    add(bundle, bind(&bundle.path("source"), "/data", &["rbind", "ridmap"]));
    let script = "echo kept > /data/file; /bin/busybox stat -c %u /data";
    assert_eq!(bundle.run(&["sh", "-c", script])?.succeeded()?.output, "0\n");
    let file = fs::metadata(bundle.path("source/file"))?;
    assert_eq!((file.uid(), file.gid()), (0, 0), "what its root writes is root's outside");
    Ok(())
}

fn slave(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::create_dir_all(bundle.path("source/later"))?;
    let original = bundle.spec["mounts"].clone();
    let script = "mount --bind source source; mount --make-shared source; $PROA create $ID >/dev/null; \
                  mount -t tmpfs none source/later; $PROA exec $ID grep -c /data/later /proc/self/mountinfo || true; \
                  $PROA delete --force $ID";
    for (options, seen) in [(["rbind", "rslave"], "1\n"), (["rbind", "rprivate"], "0\n"), (["rbind", "rw"], "0\n")] {
        bundle.spec["mounts"] = original.clone();
        add(bundle, bind(&bundle.path("source"), "/data", &options));
        bundle.runs(&["true"]).write()?;
        let ended = elsewhere(bundle, "private", script)?.succeeded()?;
        assert_eq!(ended.output, seen, "{options:?}");
    }
    Ok(())
}

fn shared(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::create_dir_all(bundle.path("source/below"))?;
    add(bundle, bind(&bundle.path("source"), "/data", &["rbind", "rshared"]));
    for set in ["bounding", "effective", "permitted"] {
        bundle.spec["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
    }
    let script = "mount --bind source source; mount --make-shared source; $PROA run $ID; \
                  grep -c source/below /proc/self/mountinfo || true";
    for (root, seen) in [(json!("rshared"), "1\n"), (json!("rslave"), "0\n"), (json!(""), "0\n")] {
        bundle.spec["linux"]["rootfsPropagation"] = root.clone();
        bundle.runs(&["/bin/busybox", "mount", "-t", "tmpfs", "none", "/data/below"]).write()?;
        let ended = elsewhere(bundle, "private", script)?.succeeded()?;
        assert_eq!(ended.output, seen, "{root}");
    }
    Ok(())
}

fn root_propagation(bundle: &mut Bundle) -> Result<(), Failed> {
    for (word, expected) in [
        ("", None),
        ("private", None),
        ("rslave", None),
        ("shared", Some("shared:")),
        ("rshared", Some("shared:")),
        ("unbindable", Some("unbindable")),
    ] {
        bundle.spec["linux"]["rootfsPropagation"] = json!(word);
        let line = mounted(bundle, "/")?;
        let told = ["shared:", "master:", "unbindable"].into_iter().find(|tag| line.contains(tag));
        assert_eq!(told, expected, "{word}: {line}");
    }
    Ok(())
}

fn no_pivot(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["sh", "-c", "ls /; ls /proc/self/root/; cat /proc/1/comm"]).write()?;
    let ended = bundle.program(&["run", "--no-pivot", &bundle.id])?.succeeded()?;
    assert!(ended.output.starts_with("bin\ndev\netc\nproc\n") && !ended.output.contains("usr"), "{ended:?}");
    Ok(())
}

fn without_dev(bundle: &mut Bundle) {
    let mounts = bundle.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
}

fn root_dev(bundle: &mut Bundle) -> Result<(), Failed> {
    without_dev(bundle);
    bundle.spec["linux"]["devices"] = json!([
        { "path": "/dev/deep/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4 },
        { "path": "/srv/pipe", "type": "p" },
    ]);
    let script = "echo x > /dev/null; /bin/busybox head -c 1 /dev/zero | /bin/busybox wc -c; readlink /dev/ptmx; \
                  readlink /dev/fd; /bin/busybox stat -c '%a %u %g %t:%T' /dev/deep/zero; test -p /srv/pipe && echo pipe";
    // The second time they are there already.
    for _ in 0..2 {
        let ended = bundle.run(&["sh", "-c", script])?.succeeded()?;
        assert_eq!(ended.output, "1\npts/ptmx\n/proc/self/fd\n640 3 4 1:5\npipe\n");
    }
    Ok(())
}

fn bound_dev(bundle: &mut Bundle) -> Result<(), Failed> {
    without_dev(bundle);
    let names =
        || -> Result<Vec<_>, Failed> { Ok(fs::read_dir("/dev")?.flatten().map(|one| one.file_name()).collect()) };
    let before = names()?;
    add(bundle, bind("/dev", "/dev", &["rbind", "rprivate"]));
    bundle.spec["linux"]["devices"] = json!([{ "path": "/dev/proa-test", "type": "c", "major": 1, "minor": 5 }]);
    let ended = bundle.run(&["sh", "-c", "echo x > /dev/null && ls /dev"])?.succeeded()?;
    assert!(!ended.output.contains("proa-test") && ended.output.contains("full"), "{ended:?}");
    assert_eq!(names()?, before);
    Ok(())
}

fn bundle_devices(bundle: &mut Bundle) -> Result<(), Failed> {
    for (name, number) in [("allowed", makedev(1, 5)), ("denied", makedev(1, 1))] {
        let path = bundle.path(&format!("rootfs/{name}"));
        mknodat(CWD, path.as_str(), FileType::CharacterDevice, Mode::from_raw_mode(0o666), number)?;
    }
    let script = "/bin/busybox head -c 1 /allowed | /bin/busybox wc -c; cat /denied || echo closed";
    let ended = bundle.run(&["sh", "-c", script])?.succeeded()?;
    assert_eq!(ended.output, "1\nclosed\n");
    assert!(ended.error.contains("not permitted"), "{ended:?}");
    Ok(())
}

fn user_namespace(bundle: &mut Bundle) -> Result<(), Failed> {
    mapped(bundle)?;
    let outside = json!([
        { "path": "/dev/more", "type": "c", "major": 1, "minor": 5, "uid": 5, "gid": 6 },
        { "path": "/dev/full", "type": "c", "major": 1, "minor": 7 },
    ]);
    bundle.spec["linux"]["devices"] = outside;
    let script = "/bin/busybox stat -c '%u %g' /bin/busybox /dev/more; echo x > /dev/null && echo null; \
                  /bin/busybox head -c 1 /dev/more | /bin/busybox wc -c";
    let ended = bundle.run(&["sh", "-c", script])?.succeeded()?;
    assert_eq!(ended.output, "0 0\n5 6\nnull\n1\n");
    // Nor is there a /dev of ours.
    without_dev(bundle);
    bundle.spec["root"]["readonly"] = json!(false);
    bundle.spec["linux"]["devices"] = json!([]);
    let ended = bundle.run(&["sh", "-c", "echo x > /dev/null && test -c /dev/urandom && echo there"])?.succeeded()?;
    assert_eq!(ended.output, "there\n");
    Ok(())
}

fn cgroups(bundle: &mut Bundle) -> Result<(), Failed> {
    if fs::exists("/sys/fs/cgroup/cgroup.controllers")? {
        // On v2 alone the whole tree is seen, as other runtimes have it.
        return Ok(());
    }
    add(
        bundle,
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid", "nodev", "noexec"] }),
    );
    let show = "cat /sys/fs/cgroup/pids/cgroup.procs | grep -x $$; echo 1 > /sys/fs/cgroup/pids/pids.max || echo read-only; \
                ls /sys/fs/cgroup/pids | grep -c proa";
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|one| one["type"] != "cgroup");
    for _ in 0..2 {
        let ended = bundle.run(&["sh", "-c", show])?;
        assert_eq!(ended.output, "1\nread-only\n0\n", "{ended:?}");
        bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "cgroup" }));
    }
    Ok(())
}

fn dangling(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::write(bundle.path("resolv.conf"), "nameserver ::1\n")?;
    symlink("../run/resolved/stub.conf", bundle.path("rootfs/etc/resolv.conf"))?;
    add(bundle, bind("resolv.conf", "/etc/resolv.conf", &["rbind", "ro"]));
    let ended = bundle.run(&["cat", "/etc/resolv.conf", "/run/resolved/stub.conf"])?.succeeded()?;
    assert_eq!(ended.output, "nameserver ::1\nnameserver ::1\n");
    Ok(())
}
