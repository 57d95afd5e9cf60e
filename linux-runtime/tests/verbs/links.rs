//! Images that lead the runtime astray: links where it makes, mounts or writes something, and links that change meanwhile.
//! Beside the root stands a folder that nobody may touch.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::Failed;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use serde_json::{Value, json};

use super::Case;
use super::bundle::Bundle;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("/dev that is a link is refused (CVE-2026-41579)", dev),
    ("/proc and /sys that are links are refused (CVE-2019-19921, CVE-2023-27561)", kernel_places),
    ("a device's name that is a link is refused (CVE-2025-31133, CVE-2026-88265)", device),
    ("a false /dev/null hides no path (CVE-2025-31133)", false_null),
    ("/dev/console that is a link is refused (CVE-2025-52565, CVE-2026-88264)", console),
    ("/dev/pts and /dev/ptmx that are links lead nowhere (CVE-2025-52565)", terminals),
    ("on /proc stands procfs, and nothing is mounted in it (CVE-2019-16884)", on_proc),
    ("a link does not lead a mount into /proc (CVE-2019-16884)", into_proc),
    ("a kernel parameter is written to procfs alone (CVE-2025-52881)", parameter),
    ("hidden and read-only paths in a false /proc are refused (CVE-2019-16884, CVE-2023-28642)", false_proc),
    ("links on the way to a mount mean what they mean inside the root (CVE-2024-45310)", destinations),
    ("links that change while containers start lead nowhere outside (CVE-2021-30465)", race),
    ("a working directory through a link is made inside the root (CVE-2026-55686)", working_directory),
];

/// Paths with modes, owners, times and contents.
type Tree = BTreeMap<String, (u32, u32, i64, i64, Vec<u8>)>;

/// A folder with a file beside the root.
fn outside(bundle: &Bundle) -> Result<Tree, Failed> {
    fs::create_dir_all(bundle.path("outside/folder"))?;
    fs::write(bundle.path("outside/file"), "the host's\n")?;
    tree(bundle)
}

fn tree(bundle: &Bundle) -> Result<Tree, Failed> {
    fn walk(folder: &Path, tree: &mut Tree) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let found = fs::symlink_metadata(&path)?;
            let content = if found.is_file() { fs::read(&path)? } else { Vec::new() };
            let about = (found.mode(), found.uid(), found.mtime(), found.ctime(), content);
            tree.insert(path.display().to_string(), about);
            if found.is_dir() {
                walk(&path, tree)?;
            }
        }
        Ok(())
    }
    let mut found = Tree::new();
    walk(Path::new(&bundle.path("outside")), &mut found)?;
    Ok(found)
}

fn untouched(bundle: &Bundle, before: &Tree) -> Result<(), Failed> {
    let after = tree(bundle)?;
    if after == *before {
        Ok(())
    } else {
        Err(format!("the host's folder changed from {before:?} to {after:?}").into())
    }
}

/// Both ways to name what is outside: from the machine's root, and upwards.
fn ways(bundle: &Bundle, name: &str) -> [String; 2] {
    [
        bundle.path(&format!("outside/{name}")),
        format!("../../../../../../../..{}", bundle.path(&format!("outside/{name}"))),
    ]
}

/// Puts a link in the root in place of whatever is there.
fn link(bundle: &Bundle, place: &str, to: &str) -> Result<(), Failed> {
    let path = bundle.path(&format!("rootfs/{place}"));
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(&path)?,
        Ok(_) => fs::remove_file(&path)?,
        Err(_) => {}
    }
    fs::create_dir_all(Path::new(&path).parent().ok_or("no folder")?)?;
    Ok(symlink(to, path)?)
}

/// The specification's mounts without those below `place`.
fn without(bundle: &mut Bundle, place: &str) {
    let mounts = bundle.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with(place));
}

fn bind(bundle: &Bundle, source: &str, destination: &str) -> Value {
    json!({ "destination": destination, "type": "bind", "source": bundle.path(source), "options": ["bind"] })
}

fn add(bundle: &mut Bundle, mount: Value) {
    bundle.spec["mounts"].as_array_mut().unwrap().push(mount);
}

fn dev(bundle: &mut Bundle) -> Result<(), Failed> {
    let before = outside(bundle)?;
    for own in [true, false] {
        for to in ways(bundle, "folder") {
            link(bundle, "dev", &to)?;
            bundle.run(&["true"])?.refused("too many levels of symbolic links");
            untouched(bundle, &before)?;
        }
        if own {
            without(bundle, "/dev");
        }
    }
    Ok(())
}

fn kernel_places(bundle: &mut Bundle) -> Result<(), Failed> {
    let before = outside(bundle)?;
    for place in ["proc", "sys"] {
        for to in ways(bundle, "folder") {
            link(bundle, place, &to)?;
            bundle.run(&["true"])?.refused("too many levels of symbolic links");
            untouched(bundle, &before)?;
        }
        fs::remove_file(bundle.path(&format!("rootfs/{place}")))?;
        // Inside the root is not where it is called to stand either.
        link(bundle, place, "/tmp")?;
        bundle.run(&["true"])?.refused("too many levels of symbolic links");
        fs::remove_file(bundle.path(&format!("rootfs/{place}")))?;
        fs::create_dir(bundle.path(&format!("rootfs/{place}")))?;
    }
    Ok(())
}

/// Without a /dev of ours the root's own is used.
fn device(bundle: &mut Bundle) -> Result<(), Failed> {
    let before = outside(bundle)?;
    without(bundle, "/dev");
    for name in ["file", "new"] {
        for to in ways(bundle, name) {
            link(bundle, "dev/null", &to)?;
            bundle.run(&["true"])?.refused("file exists");
            untouched(bundle, &before)?;
        }
    }
    fs::remove_file(bundle.path("rootfs/dev/null"))?;
    link(bundle, "srv", &bundle.path("outside/folder"))?;
    bundle.spec["linux"]["devices"] = json!([{ "path": "/srv/zero", "type": "c", "major": 1, "minor": 5 }]);
    bundle.run(&["true"])?.succeeded()?;
    let inside = format!("rootfs{}/zero", bundle.path("outside/folder"));
    assert_eq!(fs::metadata(bundle.path(&inside))?.rdev(), makedev(1, 5), "the link means a folder of the root");
    untouched(bundle, &before)
}

fn false_null(bundle: &mut Bundle) -> Result<(), Failed> {
    without(bundle, "/dev");
    let null = bundle.path("rootfs/dev/null");
    fs::write(&null, "believe me\n")?;
    bundle.run(&["cat", "/proc/keys"])?.refused("file exists");
    // The number of /dev/zero, and that of /dev/null on a block device.
    for (kind, number) in [(FileType::CharacterDevice, makedev(1, 5)), (FileType::BlockDevice, makedev(1, 3))] {
        fs::remove_file(&null)?;
        mknodat(CWD, null.as_str(), kind, Mode::from_raw_mode(0o666), number)?;
        bundle.run(&["cat", "/proc/keys"])?.refused("file exists");
    }
    fs::remove_file(&null)?;
    let ended = bundle.run(&["cat", "/proc/keys"])?.succeeded()?;
    assert_eq!(ended.output, "");
    Ok(())
}

fn console(bundle: &mut Bundle) -> Result<(), Failed> {
    let before = outside(bundle)?;
    without(bundle, "/dev");
    bundle.spec["process"]["terminal"] = json!(true);
    add(bundle, json!({ "destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "ptmxmode=0666"] }));
    let socket = bundle.path("console");
    let listener = std::os::unix::net::UnixListener::bind(&socket)?;
    for to in ways(bundle, "file").into_iter().chain(["/proc/self/fd/0".to_owned()]) {
        link(bundle, "dev/console", &to)?;
        bundle.runs(&["true"]).write()?;
        bundle.program(&["create", "--console-socket", &socket, &bundle.id])?.refused("file exists");
        untouched(bundle, &before)?;
    }
    drop(listener);
    Ok(())
}

fn terminals(bundle: &mut Bundle) -> Result<(), Failed> {
    let before = outside(bundle)?;
    without(bundle, "/dev");
    for to in ways(bundle, "file") {
        link(bundle, "dev/ptmx", &to)?;
        let ended = bundle.run(&["readlink", "/dev/ptmx"])?.succeeded()?;
        assert_eq!(ended.output, "pts/ptmx\n");
        untouched(bundle, &before)?;
    }
    add(bundle, json!({ "destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "ptmxmode=0666"] }));
    for to in ways(bundle, "folder") {
        link(bundle, "dev/pts", &to)?;
        bundle.run(&["true"])?.refused("too many levels of symbolic links");
        untouched(bundle, &before)?;
    }
    Ok(())
}

fn on_proc(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::create_dir(bundle.path("false"))?;
    fs::write(bundle.path("memory"), "MemTotal: 1 kB\n")?;
    let original = bundle.spec["mounts"].clone();
    add(bundle, bind(bundle, "false", "/proc"));
    bundle.run(&["true"])?.refused("attach #");
    for destination in ["/proc/sys/kernel", "/proc/self/attr", "/tmp/../proc/1"] {
        bundle.spec["mounts"] = original.clone();
        add(bundle, bind(bundle, "false", destination));
        bundle.run(&["true"])?.refused("nothing is mounted inside /proc");
    }
    bundle.spec["mounts"] = original;
    add(bundle, bind(bundle, "memory", "/proc/meminfo"));
    let ended = bundle.run(&["cat", "/proc/meminfo"])?.succeeded()?;
    assert_eq!(ended.output, "MemTotal: 1 kB\n");
    Ok(())
}

fn into_proc(bundle: &mut Bundle) -> Result<(), Failed> {
    fs::create_dir(bundle.path("false"))?;
    fs::write(bundle.path("file"), "false\n")?;
    let original = bundle.spec["mounts"].clone();
    for (to, source) in [("/proc/self", "false"), ("/proc", "false"), ("/proc/version", "file"), ("proc/sys", "false")]
    {
        link(bundle, "data", to)?;
        bundle.spec["mounts"] = original.clone();
        add(bundle, bind(bundle, source, "/data"));
        bundle.run(&["true"])?.refused("invalid cross-device link");
    }
    // A tmpfs takes the same way.
    link(bundle, "data", "/proc/sys/kernel")?;
    bundle.spec["mounts"] = original;
    add(bundle, json!({ "destination": "/data", "type": "tmpfs" }));
    bundle.run(&["true"])?.refused("invalid cross-device link");
    Ok(())
}

fn parameter(bundle: &mut Bundle) -> Result<(), Failed> {
    without(bundle, "/proc");
    bundle.spec["linux"]["maskedPaths"] = json!([]);
    bundle.spec["linux"]["readonlyPaths"] = json!([]);
    bundle.spec["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    fs::create_dir_all(bundle.path("rootfs/proc/sys/net/ipv4"))?;
    fs::write(bundle.path("rootfs/proc/sys/net/ipv4/ip_forward"), "0\n")?;
    bundle.run(&["true"])?.refused("write `1` to `/proc/sys/net/ipv4/ip_forward`: invalid cross-device link");
    assert_eq!(fs::read_to_string(bundle.path("rootfs/proc/sys/net/ipv4/ip_forward"))?, "0\n");
    // A link to the real one, or from it to a file of the host's, is no more procfs.
    let before = outside(bundle)?;
    link(bundle, "proc/sys/net/ipv4/ip_forward", &bundle.path("outside/file"))?;
    bundle.run(&["true"])?.refused("too many levels of symbolic links");
    untouched(bundle, &before)
}

fn false_proc(bundle: &mut Bundle) -> Result<(), Failed> {
    without(bundle, "/proc");
    for (field, other) in [("maskedPaths", "readonlyPaths"), ("readonlyPaths", "maskedPaths")] {
        bundle.spec["linux"][other] = json!([]);
        bundle.spec["linux"][field] = json!(["/proc/sys"]);
        fs::create_dir_all(bundle.path("rootfs/proc/sys"))?;
        bundle.run(&["true"])?.refused("invalid cross-device link");
    }
    // What is not there is passed over.
    bundle.spec["linux"]["readonlyPaths"] = json!(["/proc/nothing", "/etc/nothing/at/all"]);
    bundle.spec["linux"]["maskedPaths"] = json!([]);
    bundle.run(&["true"])?.succeeded().map(drop)
}

/// Absolute links, upward ones, chains, and dangling ones: a file is made inside the root where it is missing.
fn destinations(bundle: &mut Bundle) -> Result<(), Failed> {
    let before = outside(bundle)?;
    fs::write(bundle.path("source"), "mounted\n")?;
    fs::create_dir(bundle.path("folder"))?;
    bundle.spec["root"]["readonly"] = json!(false);
    link(bundle, "absolute", &bundle.path("outside/made"))?;
    link(bundle, "upward", &format!("../../../../..{}", bundle.path("outside/also/made")))?;
    link(bundle, "chain", "absolute")?;
    link(bundle, "way", &bundle.path("outside"))?;
    link(bundle, "loop", "loop")?;
    let original = bundle.spec["mounts"].clone();
    for destination in ["/absolute", "/upward", "/chain", "/way/file", "/way/further/down", "/../../up"] {
        bundle.spec["mounts"] = original.clone();
        add(bundle, bind(bundle, "source", destination));
        let ended = bundle.run(&["cat", destination])?.succeeded()?;
        assert_eq!(ended.output, "mounted\n", "{destination}");
        untouched(bundle, &before)?;
        add(bundle, bind(bundle, "folder", "/way/folder/deep"));
        bundle.run(&["ls", "/way/folder/deep"])?.succeeded()?;
        untouched(bundle, &before)?;
    }
    assert!(fs::metadata(bundle.path(&format!("rootfs{}", bundle.path("outside/also/made"))))?.is_file());
    bundle.spec["mounts"] = original;
    add(bundle, bind(bundle, "source", "/loop"));
    bundle.run(&["true"])?.refused("too many levels of symbolic links");
    Ok(())
}

/// The root's folder and a link outside change places all the time, as another container with the same volume could do.
fn race(bundle: &mut Bundle) -> Result<(), Failed> {
    let before = outside(bundle)?;
    fs::write(bundle.path("source"), "mounted\n")?;
    bundle.spec["root"]["readonly"] = json!(false);
    fs::create_dir_all(bundle.path("rootfs/volume/place"))?;
    link(bundle, "volume/link", &bundle.path("outside/folder"))?;
    for (source, destination) in [
        ("source", "/volume/place/file"),
        ("outside/../rootfs/tmp", "/volume/place/folder"),
        ("source", "/volume/place/a/b/c"),
    ] {
        add(bundle, bind(bundle, source, destination));
    }
    bundle.spec["linux"]["devices"] = json!([{ "path": "/volume/place/null", "type": "c", "major": 1, "minor": 3 }]);
    add(bundle, json!({ "destination": "/volume/place/memory", "type": "tmpfs", "options": ["tmpcopyup"] }));
    bundle.runs(&["true"]).write()?;
    let (place, link) = (bundle.path("rootfs/volume/place"), bundle.path("rootfs/volume/link"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut swaps = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, place.as_str(), CWD, link.as_str(), RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            swaps
        });
        let outcome = (0..60).try_for_each(|_| {
            // It starts or it is refused; what it may not do is to reach outside.
            bundle.program(&["run", &bundle.id])?;
            untouched(bundle, &before)
        });
        stop.store(true, Ordering::Relaxed);
        let swaps = swapping.join().map_err(|_| "the swapping thread failed")?;
        assert!(swaps > 1000, "there was no race: {swaps} swaps");
        outcome
    })
}

fn working_directory(bundle: &mut Bundle) -> Result<(), Failed> {
    let before = outside(bundle)?;
    bundle.spec["root"]["readonly"] = json!(false);
    link(bundle, "work", &bundle.path("outside/folder"))?;
    bundle.spec["process"]["cwd"] = json!("/work/here");
    bundle.run(&["true"])?.succeeded()?;
    assert!(Path::new(&bundle.path(&format!("rootfs{}/here", bundle.path("outside/folder")))).is_dir());
    untouched(bundle, &before)
}
