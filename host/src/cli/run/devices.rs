//! `--device` and `--gpus`: devices of the node.

use std::collections::HashMap;

use anyhow::bail;
use bollard_stubs::models::{DeviceMapping, DeviceRequest};

use super::mount::fields;

/// Devices by path (`SOURCE[:TARGET][:rwm]`), and requests for those that a driver knows by name
/// (`vendor/class=name`, the Container Device Interface).
pub(crate) fn parse(typed: &[String]) -> anyhow::Result<(Vec<DeviceMapping>, Vec<DeviceRequest>)> {
    let (by_name, by_path): (Vec<&String>, Vec<&String>) = typed.iter().partition(|device| is_qualified(device));
    let paths = by_path.into_iter().map(|device| mapping(device)).collect::<anyhow::Result<_>>()?;
    let mut requests = Vec::new();
    if !by_name.is_empty() {
        requests.push(DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(by_name.into_iter().cloned().collect()),
            ..DeviceRequest::default()
        });
    }
    Ok((paths, requests))
}

fn is_qualified(device: &str) -> bool {
    let kind = device.split_once('=').and_then(|(kind, name)| (!name.is_empty()).then_some(kind));
    kind.and_then(|kind| kind.split_once('/')).is_some_and(|(vendor, class)| !vendor.is_empty() && !class.is_empty())
}

fn mapping(typed: &str) -> anyhow::Result<DeviceMapping> {
    let is_mode = |mode: &str| !mode.is_empty() && mode.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = typed.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, mode] if is_mode(mode) => (*source, *source, *mode),
        [source, target] => (*source, *target, "rwm"),
        [source, target, mode] if is_mode(mode) => (*source, *target, *mode),
        [_, _, mode] => bail!("bad mode specified: {mode}"),
        _ => bail!("invalid device specification: {typed}"),
    };
    if source.is_empty() || target.is_empty() {
        bail!("invalid device specification: {typed}");
    }
    Ok(DeviceMapping {
        path_on_host: Some(source.to_owned()),
        path_in_container: Some(target.to_owned()),
        cgroup_permissions: Some(mode.to_owned()),
    })
}

/// `c 1:3 rwm`: kind, numbers, what may be done (Linux, Device Whitelist Controller).
pub(crate) fn rules(typed: &[String]) -> anyhow::Result<Vec<String>> {
    for rule in typed {
        let parts: Vec<&str> = rule.split_whitespace().collect();
        let is_number =
            |part: &str| part == "*" || (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        let is_rule = match parts.as_slice() {
            ["a" | "b" | "c", numbers, what] => {
                numbers.split_once(':').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
                    && (1..=3).contains(&what.len())
                    && what.chars().all(|c| "rwm".contains(c))
            }
            _ => false,
        };
        if !is_rule {
            bail!("invalid device cgroup format '{rule}'");
        }
    }
    Ok(typed.to_vec())
}

/// `all`, a number, or `device=ID,driver=NAME,capabilities=LIST,count=NUMBER`.
pub(crate) fn gpus(typed: &[String]) -> anyhow::Result<Vec<DeviceRequest>> {
    typed.iter().map(|request| gpu(request)).collect()
}

fn gpu(typed: &str) -> anyhow::Result<DeviceRequest> {
    let count = |text: &str| match (text, text.parse::<i64>()) {
        ("all", _) => Ok(-1),
        (_, Ok(count)) => Ok(count),
        _ => bail!("count must be an integer or `all`, not `{text}`"),
    };
    let mut request = DeviceRequest::default();
    let mut capabilities = vec!["gpu".to_owned()];
    let list = |value: &str| value.split(',').map(str::to_owned).collect::<Vec<String>>();
    for field in fields(typed)? {
        match field.split_once('=') {
            None => request.count = Some(count(&field)?),
            Some(("count", value)) => request.count = Some(count(value)?),
            Some(("driver", value)) => request.driver = Some(value.to_owned()),
            Some(("device", value)) => request.device_ids = Some(list(value)),
            Some(("capabilities", value)) => capabilities.extend(list(value)),
            Some(("options", value)) => {
                let options = fields(value)?;
                let pairs = options.iter().filter_map(|option| option.split_once('='));
                request.options =
                    Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<HashMap<_, _>>());
            }
            Some((key, _)) => bail!("unexpected key '{key}' in '{field}'"),
        }
    }
    if request.count.is_none() && request.device_ids.is_none() {
        request.count = Some(1);
    }
    request.capabilities = Some(vec![capabilities]);
    Ok(request)
}
