//! The mounts of a container: Docker's own set, then what the request binds.

use std::collections::HashMap;
use std::path::Path;

use bollard_stubs::models::{HostConfig, Mount as MountAsked, MountType};
use oci_spec::runtime::{Mount, MountBuilder};
use proa_sandbox::Isolation;

use crate::error::{Error, Result};
use crate::network::Mode;
use crate::spec::namespaces::{self, Joined, Whose};
use crate::spec::{built, clean, files};
use crate::state::record::{BindMount, Record};

/// Every mount of a container, in the order they are made.
pub fn mounts(record: &Record, folder: &Path, joined: Joined) -> Result<Vec<Mount>> {
    let mut all = Vec::new();
    if !record.isolation.is_wasm() {
        standard(record, joined, &mut all)?;
        for name in files::NAMES {
            all.push(bind(
                &folder.join(name).to_string_lossy(),
                &format!("/etc/{name}"),
                &["rbind", "rprivate", "rw"],
            )?);
        }
    }
    let mut asked = Vec::new();
    for (target, options) in tmpfs(record) {
        let options: Vec<&str> =
            ["nosuid", "nodev", "noexec"].into_iter().chain(options.split(',').filter(|o| !o.is_empty())).collect();
        asked.push(mount("tmpfs", "tmpfs", &target, &options)?);
    }
    for entry in binds(record)? {
        let access = if entry.read_only { "ro" } else { "rw" };
        let how = if entry.shallow { "bind" } else { "rbind" };
        asked.push(bind(&entry.source, &entry.target, &[how, &entry.propagation, access])?);
    }
    for volume in &record.volumes {
        let access = if volume.read_only { "ro" } else { "rw" };
        asked.push(bind(&volume.source().to_string_lossy(), &volume.target, &["rbind", "rprivate", access])?);
    }
    // A mount hides what was mounted beneath it before: outer ones come first, in whatever order they were asked for.
    asked.sort_by_key(|mount| mount.destination().components().count());
    all.extend(asked);
    Ok(all)
}

/// What the request binds, parsed, and what other containers' volumes brought along.
pub fn binds(record: &Record) -> Result<Vec<BindMount>> {
    let wasm = record.isolation.is_wasm();
    let host = &record.host_config;
    let mut all = Vec::new();
    for text in host.binds.iter().flatten() {
        if let Source::Path(source) = Source::of(text)? {
            let parsed = parse(text, wasm)?;
            all.push(BindMount { source, ..parsed.bind });
        }
    }
    for entry in host.mounts.iter().flatten().filter(|entry| entry.typ == Some(MountType::BIND)) {
        let options = entry.bind_options.clone().unwrap_or_default();
        let propagation = options.propagation.map(|propagation| propagation.to_string());
        all.push(BindMount {
            source: entry.source.clone().unwrap_or_default(),
            target: target(entry.target.as_deref().unwrap_or_default(), wasm)?,
            read_only: entry.read_only.unwrap_or(false),
            mode: String::new(),
            propagation: propagation.filter(|p| !p.is_empty()).unwrap_or_else(|| "rprivate".to_owned()),
            shallow: options.non_recursive.unwrap_or(false),
        });
    }
    let own: Vec<String> = all.iter().map(|bind| bind.target.clone()).collect();
    all.extend(record.inherited.iter().filter(|bind| !own.contains(&bind.target)).cloned());
    Ok(all)
}

/// A volume that a request asks for, not yet there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `None` for an anonymous one.
    pub name: Option<String>,
    /// As [`BindMount::target`].
    pub target: String,
    pub read_only: bool,
    /// An empty volume does not get what the image has at the target.
    pub no_copy: bool,
    /// Relative to the volume; empty for all of it.
    pub subpath: String,
    /// The options as typed, for inspect.
    pub mode: String,
    pub driver: String,
    pub options: HashMap<String, String>,
    pub labels: HashMap<String, String>,
}

/// The volumes a request asks for; those of `--volume DIR` and of the image last, and only where nothing else is mounted.
pub fn volumes(host: &HostConfig, anonymous: &[String], wasm: bool) -> Result<Vec<Wanted>> {
    let mut all = Vec::new();
    for text in host.binds.iter().flatten() {
        let name = match Source::of(text)? {
            Source::Path(_) => continue,
            Source::Volume(name) => Some(name),
            Source::Nothing => None,
        };
        let Parsed { bind, no_copy } = parse(text, wasm)?;
        let driver = host.volume_driver.clone().unwrap_or_default();
        let (target, read_only, mode) = (bind.target, bind.read_only, bind.mode);
        all.push(Wanted { name, target, read_only, no_copy, mode, driver, ..Wanted::default() });
    }
    for entry in host.mounts.iter().flatten().filter(|entry| entry.typ == Some(MountType::VOLUME)) {
        all.push(wanted(entry, wasm)?);
    }
    for path in anonymous {
        let target = target(path, wasm)?;
        let elsewhere = host.binds.iter().flatten().filter_map(|text| parse(text, wasm).ok());
        let taken = elsewhere.map(|parsed| parsed.bind.target).any(|other| other == target)
            || host.mounts.iter().flatten().any(|mount| same(mount.target.as_deref(), &target))
            || host.tmpfs.iter().flatten().any(|(other, _)| same(Some(other), &target));
        if !taken && !all.iter().any(|other: &Wanted| other.target == target) {
            all.push(Wanted { target, ..Wanted::default() });
        }
    }
    Ok(all)
}

fn wanted(entry: &MountAsked, wasm: bool) -> Result<Wanted> {
    let options = entry.volume_options.clone().unwrap_or_default();
    let driver = options.driver_config.unwrap_or_default();
    Ok(Wanted {
        name: entry.source.clone().filter(|name| !name.is_empty()),
        target: target(entry.target.as_deref().unwrap_or_default(), wasm)?,
        read_only: entry.read_only.unwrap_or(false),
        no_copy: options.no_copy.unwrap_or(false),
        subpath: options.subpath.unwrap_or_default(),
        mode: "z".to_owned(),
        driver: driver.name.unwrap_or_default(),
        options: driver.options.unwrap_or_default(),
        labels: options.labels.unwrap_or_default(),
    })
}

fn same(path: Option<&str>, target: &str) -> bool {
    path.is_some_and(|path| clean("/", path) == clean("/", target))
}

/// The file systems in memory that the request asks for: target and options.
pub fn tmpfs(record: &Record) -> Vec<(String, String)> {
    let host = &record.host_config;
    let mut all: Vec<(String, String)> =
        host.tmpfs.iter().flatten().map(|(target, options)| (target.clone(), options.clone())).collect();
    all.sort();
    for entry in host.mounts.iter().flatten().filter(|entry| entry.typ == Some(MountType::TMPFS)) {
        let mut options = Vec::new();
        if let Some(size) = entry.tmpfs_options.as_ref().and_then(|options| options.size_bytes).filter(|size| *size > 0)
        {
            options.push(format!("size={size}"));
        }
        if let Some(mode) = entry.tmpfs_options.as_ref().and_then(|options| options.mode).filter(|mode| *mode > 0) {
            options.push(format!("mode={mode:o}"));
        }
        if entry.read_only == Some(true) {
            options.push("ro".to_owned());
        }
        // Each is a name, or a name and its value.
        let more = entry.tmpfs_options.iter().flat_map(|options| options.options.iter().flatten());
        options.extend(more.map(|words| words.join("=")));
        all.push((entry.target.clone().unwrap_or_default(), options.join(",")));
    }
    all
}

/// What stands before the first colon of a `-v`.
enum Source {
    Path(String),
    Volume(String),
    /// `-v TARGET`.
    Nothing,
}

impl Source {
    fn of(text: &str) -> Result<Source> {
        let invalid = || Error::Invalid(format!("invalid volume specification: '{text}'"));
        match text.split_once(':') {
            None if text.starts_with('/') => Ok(Source::Nothing),
            None | Some(("", _)) => Err(invalid()),
            Some((path, _)) if path.starts_with('/') => Ok(Source::Path(path.to_owned())),
            Some((name, _)) => Ok(Source::Volume(name.to_owned())),
        }
    }
}

struct Parsed {
    /// Without its source.
    bind: BindMount,
    no_copy: bool,
}

/// Parses `[SOURCE:]TARGET[:OPTIONS]`.
fn parse(text: &str, wasm: bool) -> Result<Parsed> {
    let invalid = || Error::Invalid(format!("invalid volume specification: '{text}'"));
    let rest = match Source::of(text)? {
        Source::Nothing => text,
        _ => text.split_once(':').ok_or_else(invalid)?.1,
    };
    let (inside, mode) = rest.split_once(':').unwrap_or((rest, ""));
    if inside.is_empty() || mode.contains(':') {
        return Err(invalid());
    }
    let bind = BindMount {
        source: String::new(),
        target: target(inside, wasm)?,
        read_only: false,
        mode: mode.to_owned(),
        propagation: "rprivate".to_owned(),
        shallow: false,
    };
    let mut parsed = Parsed { bind, no_copy: false };
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => parsed.bind.read_only = true,
            "nocopy" => parsed.no_copy = true,
            // SELinux labels have no meaning here; Docker takes them on every system too.
            "rw" | "z" | "Z" | "copy" | "cached" | "delegated" | "consistent" => {}
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                option.clone_into(&mut parsed.bind.propagation)
            }
            _ => return Err(Error::Invalid(format!("invalid mode: {mode}"))),
        }
    }
    Ok(parsed)
}

fn target(inside: &str, wasm: bool) -> Result<String> {
    if !inside.starts_with('/') {
        if wasm && !inside.is_empty() {
            return Ok(inside.to_owned());
        }
        return Err(Error::Invalid(format!("invalid mount config: mount path must be absolute: '{inside}'")));
    }
    let cleaned = clean("/", inside);
    if cleaned == Path::new("/") && !wasm {
        return Err(Error::Invalid("invalid volume specification: destination can't be '/'".to_owned()));
    }
    Ok(cleaned.to_string_lossy().into_owned())
}

fn standard(record: &Record, joined: Joined, all: &mut Vec<Mount>) -> Result<()> {
    all.push(mount("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"])?);
    all.push(mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"])?);
    let devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    all.push(mount("devpts", "devpts", "/dev/pts", &devpts)?);
    // sysfs belongs to the network namespace: a user namespace that does not own it may not mount it, only bind it.
    let borrowed = record.isolation == Isolation::LinuxUserns
        && Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default())? == Mode::Host;
    let access = if record.host_config.privileged == Some(true) { "rw" } else { "ro" };
    all.push(if borrowed {
        bind("/sys", "/sys", &["rbind", "rprivate", "nosuid", "noexec", "nodev", access])?
    } else {
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", access])?
    });
    // So it is with cgroups: the node's view is mounted by its owner only, and cannot be written from below.
    let watched = record.isolation == Isolation::LinuxUserns && namespaces::cgroup(record) == Whose::Node;
    all.push(if watched {
        bind("/sys/fs/cgroup", "/sys/fs/cgroup", &["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"])?
    } else {
        mount("cgroup", "cgroup", "/sys/fs/cgroup", &[access, "nosuid", "noexec", "nodev"])?
    });
    shared_memory(record, joined, all)
}

/// /dev/mqueue and /dev/shm: the first shows the queues of the namespace one is in, the second is a tmpfs of the
/// container's own, or the node's.
fn shared_memory(record: &Record, joined: Joined, all: &mut Vec<Mount>) -> Result<()> {
    let hidden = ["nosuid", "noexec", "nodev"];
    let ipc = namespaces::ipc(record)?;
    // A user namespace may mount the queues only of an IPC namespace that it owns.
    if ipc == Whose::Own || record.isolation == Isolation::Linux {
        all.push(mount("mqueue", "mqueue", "/dev/mqueue", &hidden)?);
    }
    if let (Whose::Of(_), Some(donor)) = (&ipc, joined.ipc) {
        all.push(bind(&format!("/proc/{donor}/root/dev/shm"), "/dev/shm", &["bind", "rprivate", "rw"])?);
        return Ok(());
    }
    if ipc == Whose::Node {
        all.push(bind("/dev/shm", "/dev/shm", &["rbind", "rprivate", "rw"])?);
        return Ok(());
    }
    if record.host_config.ipc_mode.as_deref() == Some("none") {
        return Ok(());
    }
    let size = record.host_config.shm_size.filter(|size| *size > 0).unwrap_or(64 << 20);
    let size = format!("size={size}");
    all.push(mount("tmpfs", "shm", "/dev/shm", &[&hidden[..], &["mode=1777", &size]].concat())?);
    Ok(())
}

/// What is said of a recursive bind mount goes for what is mounted below its source as well.
fn bind(source: &str, target: &str, options: &[&str]) -> Result<Mount> {
    let mut all = options.to_vec();
    if options.contains(&"rbind") {
        let below = [("ro", "rro"), ("nosuid", "rnosuid"), ("nodev", "rnodev"), ("noexec", "rnoexec")];
        all.extend(below.iter().filter(|(own, _)| options.contains(own)).map(|(_, below)| *below));
    }
    mount("bind", source, target, &all)
}

fn mount(kind: &str, source: &str, target: &str, options: &[&str]) -> Result<Mount> {
    built(
        MountBuilder::default()
            .typ(kind)
            .source(source)
            .destination(target)
            .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
            .build(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(binds: &[&str]) -> HostConfig {
        HostConfig { binds: Some(binds.iter().map(|bind| (*bind).to_owned()).collect()), ..HostConfig::default() }
    }

    #[test]
    fn a_name_is_a_volume_and_a_path_is_bound() {
        let wanted = volumes(&host(&["data:/data:ro,nocopy", "/etc:/x", "/alone"]), &[], false).unwrap();
        let shown: Vec<_> = wanted
            .iter()
            .map(|volume| (volume.name.as_deref(), volume.target.as_str(), volume.read_only, volume.no_copy))
            .collect();
        assert_eq!(shown, [(Some("data"), "/data", true, true), (None, "/alone", false, false)]);
    }

    #[test]
    fn anonymous_volumes_give_way_to_what_was_asked_for() {
        let anonymous = ["/a/".to_owned(), "/b".to_owned(), "/a".to_owned()];
        let wanted = volumes(&host(&["/etc:/b"]), &anonymous, false).unwrap();
        assert_eq!(wanted.iter().map(|volume| volume.target.as_str()).collect::<Vec<_>>(), ["/a"]);
    }

    #[test]
    fn malformed_volumes_are_refused() {
        for text in ["", ":/x", "x:", "x:relative", "x:/a:b:c", "x:/a:nonsense", "relative", "x:/"] {
            assert!(volumes(&host(&[text]), &[], false).is_err(), "{text}");
        }
    }
}
