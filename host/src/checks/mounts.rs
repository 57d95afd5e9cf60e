//! Mounts that cannot be.

use std::collections::HashSet;
use std::path::Path;

use bollard_stubs::models::MountType;

use crate::error::{Error, Result};
use crate::spec::mounts;
use crate::state::record::Record;

pub(super) fn check(record: &Record) -> Result<()> {
    let mut targets = HashSet::new();
    for bind in mounts::binds(record)? {
        if !targets.insert(bind.target.clone()) {
            return Err(Error::Invalid(format!("Duplicate mount point: {}", bind.target)));
        }
        if !bind.source.starts_with('/') {
            return Err(Error::Invalid(format!("invalid mount source `{}`: the path must be absolute", bind.source)));
        }
        if !Path::new(&bind.source).exists() {
            return Err(Error::Invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                bind.source
            )));
        }
    }
    for entry in record.host_config.mounts.iter().flatten() {
        if !matches!(entry.typ, Some(MountType::BIND | MountType::TMPFS | MountType::VOLUME)) {
            let sentence = "only mounts of type bind, volume and tmpfs are supported";
            return Err(Error::Unsupported(sentence.to_owned()));
        }
    }
    let anonymous = record.config.volumes.as_deref().unwrap_or_default();
    for volume in mounts::volumes(&record.host_config, anonymous, record.isolation.is_wasm())? {
        if !targets.insert(volume.target.clone()) {
            return Err(Error::Invalid(format!("Duplicate mount point: {}", volume.target)));
        }
        if let Some(name) = &volume.name {
            crate::volumes::check_name(name)?;
        }
        crate::volumes::check_driver(&volume.driver)?;
        crate::volumes::check_options(&volume.options)?;
        crate::volumes::check_subpath(&volume.subpath)?;
    }
    for (target, options) in mounts::tmpfs(record) {
        check_tmpfs(&target, &options)?;
        if !targets.insert(target.clone()) {
            return Err(Error::Invalid(format!("Duplicate mount point: {target}")));
        }
    }
    Ok(())
}

/// What a tmpfs understands, of Docker's list; the kernel's other options could reach beyond it.
const TMPFS_FLAGS: [&str; 20] = [
    "exec",
    "noexec",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "rw",
    "ro",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "strictatime",
    "private",
    "rprivate",
    "nostrictatime",
    "defaults",
    "sync",
    "async",
];
const TMPFS_VALUES: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];

fn check_tmpfs(target: &str, options: &str) -> Result<()> {
    if !target.starts_with('/') {
        return Err(Error::Invalid(format!(
            "invalid mount config for type \"tmpfs\": invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    if spec_clean(target) == Path::new("/") {
        return Err(Error::Invalid(
            "invalid mount config for type \"tmpfs\": invalid specification: destination can't be '/'".to_owned(),
        ));
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let known = match option.split_once('=') {
            Some((name, value)) => TMPFS_VALUES.contains(&name) && is_number(name, value),
            None => TMPFS_FLAGS.contains(&option),
        };
        if !known {
            return Err(Error::Invalid(format!("invalid tmpfs option [\"{option}\"]")));
        }
    }
    Ok(())
}

fn spec_clean(path: &str) -> std::path::PathBuf {
    crate::spec::clean("/", path)
}

/// Numbers; a size may have a unit or be a share of memory.
fn is_number(name: &str, value: &str) -> bool {
    let digits = if ["size", "nr_inodes", "nr_blocks"].contains(&name) {
        value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(value)
    } else {
        value
    };
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
