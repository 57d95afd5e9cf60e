//! `--mount type=bind|volume|tmpfs|image,source=...,target=...` by Docker's rules.

use std::collections::HashMap;

use anyhow::{Context, bail};
use bollard_stubs::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountImageOptions, MountTmpfsOptions, MountType,
    MountVolumeOptions, MountVolumeOptionsDriverConfig,
};

use super::quantity;
use crate::cli::parse::boolean;

pub(crate) fn parse(typed: &[String]) -> anyhow::Result<Vec<Mount>> {
    typed
        .iter()
        .map(|mount| one(mount).with_context(|| format!("read the mount `{mount}`")))
        .collect::<anyhow::Result<Vec<Mount>>>()
}

fn one(typed: &str) -> anyhow::Result<Mount> {
    let mut mount = Mount { typ: Some(MountType::VOLUME), ..Mount::default() };
    let mut used = Vec::new();
    for field in fields(typed)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        if let Some((kind, _)) = key.split_once('-') {
            used.push(kind.to_owned());
        }
        match (key.as_str(), value) {
            ("readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive", value) => {
                let set = match value {
                    Some(value) => boolean(value).map_err(|_| anyhow::anyhow!("invalid value for {key}: {value}"))?,
                    None => true,
                };
                flag(&mut mount, &key, set);
            }
            (_, None) => bail!("invalid field '{field}' must be a key=value pair"),
            (key, Some(value)) => assign(&mut mount, key, value, &field)?,
        }
    }
    check(&mount, &used)?;
    Ok(mount)
}

/// One line of comma-separated values, in which a field in double quotes may hold commas (RFC 4180).
pub(crate) fn fields(typed: &str) -> anyhow::Result<Vec<String>> {
    let (mut all, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = typed.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        bail!("`{typed}` has no closing quote");
    }
    all.push(field);
    Ok(all)
}

fn flag(mount: &mut Mount, key: &str, set: bool) {
    match key {
        "volume-nocopy" => mount.volume_options.get_or_insert_default().no_copy = Some(set),
        "bind-nonrecursive" => mount.bind_options.get_or_insert_default().non_recursive = Some(set),
        _ => mount.read_only = Some(set),
    }
}

fn assign(mount: &mut Mount, key: &str, value: &str, field: &str) -> anyhow::Result<()> {
    let text = || Some(value.to_owned());
    match key {
        "type" => mount.typ = Some(kind(value)?),
        "source" | "src" => mount.source = Some(source(value)?),
        "target" | "dst" | "destination" => mount.target = text(),
        "consistency" => mount.consistency = text(),
        "bind-propagation" => mount.bind_options.get_or_insert_default().propagation = Some(propagation(value)?),
        "bind-recursive" => recursive(mount.bind_options.get_or_insert_default(), value)?,
        "volume-driver" => driver(mount).name = text(),
        "volume-subpath" => mount.volume_options.get_or_insert_default().subpath = text(),
        "volume-label" => put(&mut mount.volume_options.get_or_insert_default().labels, value),
        "volume-opt" => put(&mut driver(mount).options, value),
        "image-subpath" => mount.image_options.get_or_insert(MountImageOptions::default()).subpath = text(),
        "tmpfs-size" => {
            let size = quantity::bytes(value).map_err(|_| anyhow::anyhow!("invalid value for {key}: {value}"))?;
            mount.tmpfs_options.get_or_insert(MountTmpfsOptions::default()).size_bytes = Some(i64::try_from(size)?);
        }
        "tmpfs-mode" => {
            let mode =
                i64::from_str_radix(value, 8).map_err(|_| anyhow::anyhow!("invalid value for {key}: {value}"))?;
            mount.tmpfs_options.get_or_insert(MountTmpfsOptions::default()).mode = Some(mode);
        }
        _ => bail!("unexpected key '{key}' in '{field}'"),
    }
    Ok(())
}

fn kind(value: &str) -> anyhow::Result<MountType> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "bind" => MountType::BIND,
        "volume" => MountType::VOLUME,
        "tmpfs" => MountType::TMPFS,
        "image" => MountType::IMAGE,
        _ => bail!("mount type unknown: \"{value}\""),
    })
}

/// A source that begins with a dot is the caller's; another relative one is for the host to refuse.
fn source(value: &str) -> anyhow::Result<String> {
    if value != "." && !value.starts_with("./") && !value.starts_with("..") {
        return Ok(value.to_owned());
    }
    let absolute = std::path::absolute(value).with_context(|| format!("find `{value}`"))?;
    Ok(absolute.to_string_lossy().into_owned())
}

fn propagation(value: &str) -> anyhow::Result<MountBindOptionsPropagationEnum> {
    match value.to_ascii_lowercase().parse() {
        Ok(propagation) => Ok(propagation),
        Err(_) => bail!("invalid value for bind-propagation: {value}"),
    }
}

fn recursive(options: &mut MountBindOptions, value: &str) -> anyhow::Result<()> {
    match value {
        "enabled" => {}
        "disabled" => options.non_recursive = Some(true),
        "writable" => options.read_only_non_recursive = Some(true),
        "readonly" => options.read_only_force_recursive = Some(true),
        _ => bail!(
            "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
        ),
    }
    Ok(())
}

fn driver(mount: &mut Mount) -> &mut MountVolumeOptionsDriverConfig {
    let options: &mut MountVolumeOptions = mount.volume_options.get_or_insert_default();
    options.driver_config.get_or_insert_default()
}

fn put(into: &mut Option<HashMap<String, String>>, value: &str) {
    let (name, value) = value.split_once('=').unwrap_or((value, ""));
    into.get_or_insert_default().insert(name.to_owned(), value.to_owned());
}

fn check(mount: &Mount, used: &[String]) -> anyhow::Result<()> {
    let kind = mount.typ.map(|kind| kind.to_string()).unwrap_or_default();
    if mount.target.as_deref().is_none_or(str::is_empty) {
        bail!("target is required");
    }
    if let Some(other) = used.iter().find(|other| **other != kind) {
        bail!("cannot mix '{other}-*' options with mount type '{kind}'");
    }
    let Some(bind) = &mount.bind_options else { return Ok(()) };
    let is_read_only = mount.read_only == Some(true);
    if bind.read_only_non_recursive == Some(true) && !is_read_only {
        bail!("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction");
    }
    if bind.read_only_force_recursive == Some(true) {
        if !is_read_only {
            bail!("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction");
        }
        if bind.propagation != Some(MountBindOptionsPropagationEnum::RPRIVATE) {
            bail!(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(typed: &str, expected: Result<Value, &str>) {
        match (one(typed), expected) {
            (Ok(mount), Ok(expected)) => assert_eq!(serde_json::to_value(mount).expect("JSON"), expected, "{typed}"),
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected, "{typed}"),
            (found, _) => panic!("{typed} gave {found:?}"),
        }
    }

    #[test]
    fn mounts_are_read_as_docker_reads_them() {
        check(
            "type=bind,src=/a,dst=/b,ro,bind-propagation=rslave,bind-recursive=disabled",
            Ok(json!({"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true,
                "BindOptions": {"Propagation": "rslave", "NonRecursive": true}})),
        );
        check(
            "type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770",
            Ok(json!({"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 64 << 20, "Mode": 1016}})),
        );
        check(
            "source=v,target=/v,volume-nocopy,volume-opt=type=nfs,volume-label=x=y,volume-driver=local",
            Ok(json!({"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"NoCopy": true,
                "Labels": {"x": "y"}, "DriverConfig": {"Name": "local", "Options": {"type": "nfs"}}}})),
        );
        check("type=bind,\"source=/a,b\",target=/b", Ok(json!({"Type": "bind", "Source": "/a,b", "Target": "/b"})));
        check("type=bind,src=/a", Err("target is required"));
        check(
            "type=volume,target=/b,bind-propagation=shared",
            Err("cannot mix 'bind-*' options with mount type 'volume'"),
        );
        check("target=/b,foo=1", Err("unexpected key 'foo' in 'foo=1'"));
        check("target=/b,foo", Err("invalid field 'foo' must be a key=value pair"));
        check("type=bind,source=/a,target=/b,ro=maybe", Err("invalid value for ro: maybe"));
        check("type=tmpfs,target=/b,tmpfs-mode=999", Err("invalid value for tmpfs-mode: 999"));
    }
}
