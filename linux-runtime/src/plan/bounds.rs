//! How much a specification may ask: whoever writes one must not have this program's memory, nor more slots than there are
//! numbers. Far above what any container has.

use std::path::Path;

use oci_spec::runtime::{Hooks, Linux, Process, Spec};

use crate::error::{Error, Result};

/// Of mounts, devices, hooks and whatever else is listed.
const ENTRIES: usize = 4096;
/// PATH_MAX.
const PATH: usize = 4096;
/// Every prefix of a path is a string of its own.
const DEPTH: usize = 128;

pub(super) fn container(spec: &Spec, linux: &Linux) -> Result<()> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let devices = linux.devices().as_deref().unwrap_or_default();
    few("mounts", mounts.len())?;
    few("linux.devices", devices.len())?;
    few("linux.namespaces", length(linux.namespaces()))?;
    few("linux.uidMappings", length(linux.uid_mappings()))?;
    few("linux.gidMappings", length(linux.gid_mappings()))?;
    few("linux.sysctl", linux.sysctl().as_ref().map_or(0, |all| all.len()))?;
    few("linux.seccomp.syscalls", linux.seccomp().as_ref().map_or(0, |seccomp| length(seccomp.syscalls())))?;
    for mount in mounts {
        few("mounts.options", length(mount.options()))?;
        short("mounts.destination", mount.destination())?;
    }
    devices.iter().try_for_each(|device| short("linux.devices.path", device.path()))?;
    for (name, paths) in [("linux.maskedPaths", linux.masked_paths()), ("linux.readonlyPaths", linux.readonly_paths())]
    {
        few(name, length(paths))?;
        paths.iter().flatten().try_for_each(|path| short(name, Path::new(path)))?;
    }
    linux
        .sysctl()
        .iter()
        .flatten()
        .try_for_each(|(key, _)| short("linux.sysctl", Path::new(&key.replace('.', "/"))))?;
    spec.hooks().as_ref().map_or(Ok(()), hooks)
}

pub(super) fn process(process: &Process) -> Result<()> {
    few("process.rlimits", length(process.rlimits()))?;
    // Each folder of PATH is tried with the program's name.
    let program = process.args().iter().flatten().next();
    program.map_or(Ok(()), |name| short("process.args", Path::new(name)))?;
    let paths = process.env().iter().flatten().filter(|variable| variable.starts_with("PATH="));
    paths.map(|path| path.split(':').count()).try_for_each(|count| few("process.env: PATH", count))?;
    short("process.cwd", process.cwd())
}

fn hooks(hooks: &Hooks) -> Result<()> {
    few("hooks.createContainer", length(hooks.create_container()))?;
    few("hooks.startContainer", length(hooks.start_container()))
}

fn length<T>(list: &Option<Vec<T>>) -> usize {
    list.as_ref().map_or(0, Vec::len)
}

fn few(name: &str, count: usize) -> Result<()> {
    if count <= ENTRIES {
        return Ok(());
    }
    Err(Error::Plan(format!("`{name}` has {count} entries; {ENTRIES} are the most")))
}

fn short(name: &str, path: &Path) -> Result<()> {
    if path.as_os_str().len() <= PATH && path.components().count() <= DEPTH {
        return Ok(());
    }
    Err(Error::Plan(format!("a path of `{name}` is longer than {PATH} bytes or deeper than {DEPTH} folders")))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;
    use serde_json::{Value, json};

    fn refusal(linux: Value, cwd: &str, mounts: usize) -> String {
        let mounts = vec![json!({ "destination": "/data", "source": "/srv", "options": ["rbind"] }); mounts];
        let process = json!({ "cwd": cwd, "args": ["true"], "user": { "uid": 0, "gid": 0 } });
        let spec = json!({ "ociVersion": "1.2.0", "process": process, "mounts": mounts, "linux": linux });
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let linux = spec.linux().clone().unwrap();
        let outcome = super::container(&spec, &linux).and_then(|()| super::process(spec.process().as_ref().unwrap()));
        outcome.map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn more_than_any_container_has_is_refused() {
        let deep = "/a".repeat(200);
        let long = format!("/{}", "a".repeat(4096));
        let too_long = |name| format!("a path of `{name}` is longer than 4096 bytes or deeper than 128 folders");
        assert_eq!(refusal(json!({}), "/", 4096), "");
        assert_eq!(refusal(json!({}), "/", 4097), "`mounts` has 4097 entries; 4096 are the most");
        assert_eq!(refusal(json!({}), &deep, 1), too_long("process.cwd"));
        assert_eq!(refusal(json!({ "maskedPaths": [long] }), "/", 1), too_long("linux.maskedPaths"));
        assert_eq!(refusal(json!({ "sysctl": { "a.".repeat(200): "1" } }), "/", 1), too_long("linux.sysctl"));
    }
}
