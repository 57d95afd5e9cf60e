//! The words of a create request that the generated types would refuse in words of their own, or know nothing of; and
//! the shorter spellings that dockerd takes. Knows JSON, not what an option means.

use serde_json::{Value, json};

use crate::api::reply::Failure;

/// Refuses in dockerd's words what it refuses.
pub(super) fn check(body: &Value) -> Result<(), Failure> {
    let host = &body["HostConfig"];
    let known = |value: &Value, words: &[&str]| value.as_str().is_none_or(|word| words.contains(&word));
    let policy = &host["RestartPolicy"]["Name"];
    if !known(policy, &["", "no", "always", "on-failure", "unless-stopped"]) {
        let name = policy.as_str().unwrap_or_default();
        return Err(Failure::bad_request(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )));
    }
    let mode = &host["CgroupnsMode"];
    if !known(mode, &["", "private", "host"]) {
        let mode = mode.as_str().unwrap_or_default();
        return Err(Failure::bad_request(format!("invalid cgroup namespace mode: {mode}")));
    }
    for mount in host["Mounts"].as_array().into_iter().flatten() {
        mount_words(mount)?;
    }
    network(body)
}

fn mount_words(mount: &Value) -> Result<(), Failure> {
    let kind = mount["Type"].as_str().unwrap_or_default();
    if !["bind", "volume", "tmpfs", "npipe", "cluster", "image"].contains(&kind) {
        let sentence = format!("invalid mount config for type \"{kind}\": mount type unknown");
        return Err(Failure::bad_request(sentence));
    }
    let propagation = mount["BindOptions"]["Propagation"].as_str().unwrap_or_default();
    if !["", "private", "rprivate", "shared", "rshared", "slave", "rslave"].contains(&propagation) {
        let sentence = format!("invalid mount config for type \"bind\": invalid propagation mode: {propagation}");
        return Err(Failure::bad_request(sentence));
    }
    Ok(())
}

/// Addresses of one's own need networks of one's own.
fn network(body: &Value) -> Result<(), Failure> {
    let is_set = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let hardware = |value: &Value| {
        if is_set(value) {
            let sentence = "--mac-address is not supported: a container's networks have no hardware of their own yet";
            return Err(Failure::bad_request(sentence));
        }
        Ok(())
    };
    hardware(&body["MacAddress"])?;
    let endpoints = body["NetworkingConfig"]["EndpointsConfig"].as_object();
    for (name, endpoint) in endpoints.into_iter().flatten() {
        hardware(&endpoint["MacAddress"])?;
        let wrong = |reason: &str| {
            let name = if name == "default" { "bridge" } else { name.as_str() };
            let sentence = format!("invalid config for network {name}: invalid endpoint settings: {reason}");
            Err(Failure::bad_request(sentence))
        };
        let addresses = &endpoint["IPAMConfig"];
        if is_set(&addresses["IPv4Address"]) || is_set(&addresses["IPv6Address"]) {
            return wrong("user specified IP address is supported for user-defined networks only");
        }
        if endpoint["Aliases"].as_array().is_some_and(|list| !list.is_empty()) {
            return wrong("network-scoped aliases are only supported for user-defined networks");
        }
        if endpoint["Links"].as_array().is_some_and(|list| !list.is_empty()) {
            return Err(Failure::bad_request("--link is not supported: name the other container in --add-host"));
        }
    }
    Ok(())
}

/// Spells out what may be written shorter.
pub(super) fn unfold(body: &mut Value) {
    for field in ["Cmd", "Entrypoint"] {
        if let Some(word) = body[field].as_str().map(str::to_owned) {
            body[field] = json!([word]);
        }
    }
    if body["NetworkDisabled"] == true && body.is_object() {
        if !body["HostConfig"].is_object() {
            body["HostConfig"] = json!({});
        }
        body["HostConfig"]["NetworkMode"] = json!("none");
    }
}
