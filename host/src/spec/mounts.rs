//! The mounts of a container: Docker's own set, then what the request binds.

use std::path::Path;

use bollard_stubs::models::MountType;
use oci_spec::runtime::{Mount, MountBuilder};
use proa_sandbox::Isolation;

use crate::error::{Error, Result};
use crate::network::Mode;
use crate::spec::{built, clean, files};
use crate::state::record::Record;

/// One `-v`, `--dir` or `--mount type=bind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute, on the node.
    pub source: String,
    /// Absolute inside, but for a Wasm guest, whose preopened directories may have any name.
    pub target: String,
    pub read_only: bool,
    /// The options as typed, for inspect.
    pub mode: String,
    /// `private`, `rprivate`, `shared`, ..; `rprivate` by default.
    pub propagation: String,
}

/// Every mount of a container, in the order they are made.
pub fn mounts(record: &Record, folder: &Path) -> Result<Vec<Mount>> {
    let mut all = Vec::new();
    if !record.isolation.is_wasm() {
        standard(record, &mut all)?;
        for name in files::NAMES {
            all.push(bind(
                &folder.join(name).to_string_lossy(),
                &format!("/etc/{name}"),
                &["rbind", "rprivate", "rw"],
            )?);
        }
    }
    for (target, options) in tmpfs(record) {
        let options: Vec<&str> =
            ["nosuid", "nodev", "noexec"].into_iter().chain(options.split(',').filter(|o| !o.is_empty())).collect();
        all.push(mount("tmpfs", "tmpfs", &target, &options)?);
    }
    for entry in binds(record)? {
        let access = if entry.read_only { "ro" } else { "rw" };
        all.push(bind(&entry.source, &entry.target, &["rbind", &entry.propagation, access])?);
    }
    Ok(all)
}

/// What the request binds, parsed.
pub fn binds(record: &Record) -> Result<Vec<Bind>> {
    let wasm = record.isolation.is_wasm();
    let host = &record.host_config;
    let mut all = Vec::new();
    for text in host.binds.iter().flatten() {
        all.push(parse_bind(text, wasm)?);
    }
    for entry in host.mounts.iter().flatten().filter(|entry| entry.typ == Some(MountType::BIND)) {
        let propagation = entry.bind_options.as_ref().and_then(|options| options.propagation).map(|p| p.to_string());
        all.push(Bind {
            source: entry.source.clone().unwrap_or_default(),
            target: target(entry.target.as_deref().unwrap_or_default(), wasm)?,
            read_only: entry.read_only.unwrap_or(false),
            mode: String::new(),
            propagation: propagation.filter(|p| !p.is_empty()).unwrap_or_else(|| "rprivate".to_owned()),
        });
    }
    Ok(all)
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
        all.push((entry.target.clone().unwrap_or_default(), options.join(",")));
    }
    all
}

/// Parses `SOURCE:TARGET[:OPTIONS]`.
pub fn parse_bind(text: &str, wasm: bool) -> Result<Bind> {
    let invalid = || Error::Invalid(format!("invalid volume specification: '{text}'"));
    let mut parts = text.splitn(3, ':');
    let (source, inside) = (parts.next().unwrap_or_default(), parts.next().ok_or_else(invalid)?);
    let mode = parts.next().unwrap_or_default();
    if source.is_empty() || inside.is_empty() || mode.contains(':') {
        return Err(invalid());
    }
    if !source.starts_with('/') {
        return Err(Error::Unsupported(format!(
            "named volumes are not supported yet: give `{source}` as an absolute path"
        )));
    }
    let mut bind = Bind {
        source: source.to_owned(),
        target: target(inside, wasm)?,
        read_only: false,
        mode: mode.to_owned(),
        propagation: "rprivate".to_owned(),
    };
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => bind.read_only = true,
            // SELinux labels and copying have no meaning here; Docker takes them on every system too.
            "rw" | "z" | "Z" | "nocopy" | "cached" | "delegated" | "consistent" => {}
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                option.clone_into(&mut bind.propagation)
            }
            _ => return Err(Error::Invalid(format!("invalid mode: {mode}"))),
        }
    }
    Ok(bind)
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

fn standard(record: &Record, all: &mut Vec<Mount>) -> Result<()> {
    let shm = record.host_config.shm_size.filter(|size| *size > 0).unwrap_or(64 << 20);
    let shm = format!("size={shm}");
    all.push(mount("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"])?);
    all.push(mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"])?);
    let devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    all.push(mount("devpts", "devpts", "/dev/pts", &devpts)?);
    // sysfs belongs to the network namespace: a user namespace that does not own it may not mount it, only bind it.
    let borrowed = record.isolation == Isolation::LinuxUserns
        && Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default())? == Mode::Host;
    all.push(if borrowed {
        bind("/sys", "/sys", &["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"])?
    } else {
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"])?
    });
    all.push(mount("cgroup", "cgroup", "/sys/fs/cgroup", &["ro", "nosuid", "noexec", "nodev"])?);
    all.push(mount("mqueue", "mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"])?);
    all.push(mount("tmpfs", "shm", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm])?);
    Ok(())
}

fn bind(source: &str, target: &str, options: &[&str]) -> Result<Mount> {
    mount("bind", source, target, options)
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
