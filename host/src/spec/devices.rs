//! Devices of the node in a native container: `--device`, `--device-cgroup-rule`, and all of them for `--privileged`.
//! Looks at the node's files, since numbers and owners are today's.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bollard_stubs::models::DeviceMapping;
use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};

use crate::error::{Error, Result};
use crate::spec::{built, clean};
use crate::state::record::Record;

/// What a privileged container does not take from the node: mounts of its own, and what its own terminal is.
const NOT_SHARED: [&str; 7] = ["pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc"];

/// Folders of devices are followed this deep, and no further than so many nodes.
const DEEPEST: usize = 8;
const MOST: usize = 4096;

/// The nodes to make in /dev.
pub fn nodes(record: &Record) -> Result<Vec<LinuxDevice>> {
    let mut all = BTreeMap::new();
    if record.host_config.privileged == Some(true) {
        let mut names = Vec::new();
        gather(Path::new("/dev"), Path::new("/dev"), DEEPEST, &mut names);
        for (source, target) in names {
            if !NOT_SHARED.iter().any(|name| target.starts_with(Path::new("/dev").join(name))) {
                all.extend(node(&source, target));
            }
        }
    }
    for mapping in mappings(record) {
        all.extend(mapped(mapping)?.into_iter().map(|device| (device.path().clone(), device)));
    }
    Ok(all.into_values().collect())
}

/// What may be opened beyond what every container may.
pub fn rules(record: &Record) -> Result<Vec<LinuxDeviceCgroup>> {
    if record.host_config.privileged == Some(true) {
        let everything = LinuxDeviceCgroupBuilder::default().allow(true).typ(LinuxDeviceType::A).access("rwm");
        return Ok(vec![built(everything.build())?]);
    }
    let mut rules = Vec::new();
    for mapping in mappings(record) {
        let access = access(mapping)?;
        for device in mapped(mapping)? {
            let rule = LinuxDeviceCgroupBuilder::default()
                .allow(true)
                .typ(device.typ())
                .major(device.major())
                .minor(device.minor())
                .access(access.clone());
            rules.push(built(rule.build())?);
        }
    }
    for rule in record.host_config.device_cgroup_rules.iter().flatten() {
        rules.push(parse_rule(rule)?);
    }
    Ok(rules)
}

fn mappings(record: &Record) -> impl Iterator<Item = &DeviceMapping> {
    record.host_config.devices.iter().flatten()
}

fn access(mapping: &DeviceMapping) -> Result<String> {
    let text = mapping.cgroup_permissions.as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm");
    let letters = text.chars().all(|letter| "rwm".contains(letter)) && text.len() <= 3;
    if letters { Ok(text.to_owned()) } else { Err(Error::Invalid(format!("invalid device mode: {text}"))) }
}

/// One device, or every device below a folder.
fn mapped(mapping: &DeviceMapping) -> Result<Vec<LinuxDevice>> {
    let source = mapping.path_on_host.as_deref().unwrap_or_default();
    let target = mapping.path_in_container.as_deref().filter(|path| !path.is_empty()).unwrap_or(source);
    let fail = |reason: &str| {
        Error::Invalid(format!("error gathering device information while adding custom device \"{source}\": {reason}"))
    };
    if !source.starts_with('/') {
        return Err(fail("the path is not absolute"));
    }
    let target = clean("/", target);
    let taken = ["pts", "shm", "mqueue"].iter().any(|name| target.starts_with(Path::new("/dev").join(name)));
    if !target.starts_with("/dev") || target == Path::new("/dev") || taken {
        return Err(fail("a container's devices stand in /dev and in no mount below it: map it to /dev/NAME"));
    }
    let metadata = fs::metadata(source).map_err(|_| fail("no such file or directory"))?;
    if metadata.is_dir() {
        let mut found = Vec::new();
        gather(Path::new(source), &target, DEEPEST, &mut found);
        let devices: Vec<_> = found.into_iter().filter_map(|(source, target)| node(&source, target)).collect();
        return if devices.is_empty() {
            Err(fail("no devices found"))
        } else {
            Ok(devices.into_iter().map(|(_, device)| device).collect())
        };
    }
    // A name of the node may be a link to the device it means now.
    device(&metadata, target).map(|device| vec![device]).ok_or_else(|| fail("not a device node"))
}

/// Every file below `folder` with its place below `target`; links are not followed.
fn gather(folder: &Path, target: &Path, deep: usize, found: &mut Vec<(PathBuf, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if found.len() >= MOST {
            return;
        }
        let (source, target) = (entry.path(), target.join(entry.file_name()));
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && deep > 0 => gather(&source, &target, deep - 1, found),
            Ok(_) => found.push((source, target)),
            Err(_) => {}
        }
    }
}

fn node(source: &Path, target: PathBuf) -> Option<(PathBuf, LinuxDevice)> {
    let metadata = fs::symlink_metadata(source).ok()?;
    device(&metadata, target.clone()).map(|device| (target, device))
}

fn device(metadata: &Metadata, target: PathBuf) -> Option<LinuxDevice> {
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => LinuxDeviceType::C,
        kind if kind.is_block_device() => LinuxDeviceType::B,
        _ => return None,
    };
    let number = metadata.rdev();
    let device = LinuxDeviceBuilder::default()
        .typ(kind)
        .path(target)
        .major(i64::from(rustix::fs::major(number)))
        .minor(i64::from(rustix::fs::minor(number)))
        .file_mode(metadata.mode() & 0o777)
        .uid(metadata.uid())
        .gid(metadata.gid());
    device.build().ok()
}

/// `c 7:128 rwm`; a `*` stands for every number.
fn parse_rule(rule: &str) -> Result<LinuxDeviceCgroup> {
    let invalid = || Error::Invalid(format!("invalid device cgroup rule format: '{rule}'"));
    let words: Vec<&str> = rule.split(' ').collect();
    let [kind, numbers, access] = words[..] else { return Err(invalid()) };
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(invalid()),
    };
    let number = |text: &str| -> Result<Option<i64>> {
        if text == "*" { Ok(None) } else { text.parse::<u32>().map(|n| Some(n.into())).map_err(|_| invalid()) }
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let (major, minor) = (number(major)?, number(minor)?);
    if access.is_empty() || access.len() > 3 || access.chars().any(|letter| !"rwm".contains(letter)) {
        return Err(invalid());
    }
    let mut builder = LinuxDeviceCgroupBuilder::default().allow(true).typ(kind).access(access);
    if let Some(major) = major {
        builder = builder.major(major);
    }
    if let Some(minor) = minor {
        builder = builder.minor(minor);
    }
    built(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::record;

    fn mapping(source: &str, target: &str, access: &str) -> Record {
        let mut record = record(proa_sandbox::Isolation::Linux);
        record.host_config.devices = Some(vec![DeviceMapping {
            path_on_host: Some(source.to_owned()),
            path_in_container: Some(target.to_owned()),
            cgroup_permissions: Some(access.to_owned()),
        }]);
        record
    }

    #[test]
    fn a_device_has_the_node_s_numbers_and_the_access_asked_for() {
        let record = mapping("/dev/null", "/dev/deep/nothing", "r");
        let nodes = nodes(&record).unwrap();
        assert_eq!((nodes[0].major(), nodes[0].minor(), nodes[0].typ()), (1, 3, LinuxDeviceType::C));
        assert_eq!(nodes[0].path(), Path::new("/dev/deep/nothing"));
        let rules = rules(&record).unwrap();
        assert_eq!((rules[0].major(), rules[0].access().as_deref()), (Some(1), Some("r")));
    }

    #[test]
    fn what_is_no_device_or_stands_elsewhere_is_refused() {
        for (source, target, access) in [
            ("/nonexistent", "/dev/x", "rwm"),
            ("/etc/passwd", "/dev/x", "rwm"),
            ("/dev/null", "/null", "rwm"),
            ("/dev/null", "/dev/../etc/null", "rwm"),
            ("null", "/dev/null", "rwm"),
            ("/dev/null", "/dev/x", "rwx"),
        ] {
            assert!(rules(&mapping(source, target, access)).is_err(), "{source} {target} {access}");
        }
    }

    #[test]
    fn rules_are_docker_s() {
        let rule = parse_rule("c 7:* rm").unwrap();
        assert_eq!((rule.major(), rule.minor(), rule.access().as_deref()), (Some(7), None, Some("rm")));
        for bad in ["", "c 7:128", "x 1:1 r", "c 1 r", "c a:b r", "c 1:1 rwx", "c 1:1  r", "c -1:1 r"] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }
}
