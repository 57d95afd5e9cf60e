//! `POST /containers/create`, and the request that `POST /proa/plan` shares with it.

use std::sync::Arc;

use bollard_stubs::models::{ContainerCreateBody, ContainerCreateResponse};
use hyper::StatusCode;
use serde_json::Value;

use crate::api::body;
use crate::api::call::{Call, Query};
use crate::api::containers::joined;
use crate::api::reply::{Answer, Failure, json};
use crate::host::Host;
use crate::request::Request;

/// Makes a container.
pub(crate) async fn create(host: &Arc<Host>, call: Call) -> Answer {
    let request = request(call).await?;
    // In a task of its own: a client that hangs up does not leave a compiler behind that nobody waits for.
    let host = host.clone();
    let created = joined(tokio::spawn(async move { host.create(request).await })).await?;
    let answer = ContainerCreateResponse { id: created.container.id().to_owned(), warnings: created.warnings };
    Ok(json(StatusCode::CREATED, &answer))
}

/// Reads name, platform and body.
pub(crate) async fn request(call: Call) -> Result<Request, Failure> {
    parse(&call.query, &body::read(call.body).await?)
}

/// Reads name, platform and body from their bytes.
pub(crate) fn parse(query: &Query, bytes: &[u8]) -> Result<Request, Failure> {
    let invalid = |error: serde_json::Error| Failure::bad_request(format!("invalid JSON: {error}"));
    let mut value: Value = serde_json::from_slice(bytes).map_err(invalid)?;
    let isolation = take_isolation(&mut value);
    words::check(&value)?;
    words::unfold(&mut value);
    let body: ContainerCreateBody = serde_json::from_value(value).map_err(invalid)?;
    if body.image.as_deref().unwrap_or_default().is_empty() {
        return Err(Failure::bad_request("no image specified"));
    }
    let text = |name: &str| query.get(name).map(str::to_owned);
    let name = text("name").map(|name| name.strip_prefix('/').map(str::to_owned).unwrap_or(name));
    Ok(Request::new(name, text("platform"), isolation, body))
}

mod words;

/// Takes `HostConfig.Isolation` out: the generated type knows Windows' values only. `default` is one of them, asks for
/// nothing, and is shown again as it was asked.
fn take_isolation(value: &mut Value) -> String {
    let host = value.get_mut("HostConfig").and_then(Value::as_object_mut);
    let host = host.filter(|host| host.get("Isolation").is_none_or(|isolation| isolation != "default"));
    match host.and_then(|host| host.remove("Isolation")) {
        Some(Value::String(isolation)) => isolation,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_own_body_and_our_isolation_are_understood() {
        // What docker 28 sends for `docker run -it --rm --isolation wasm busybox sh`, shortened.
        let body = r#"{"Hostname":"","Tty":true,"OpenStdin":true,"StdinOnce":true,"Env":null,"Cmd":["sh"],
            "Image":"busybox","Volumes":{},"WorkingDir":"","Entrypoint":null,"Labels":{},"HostConfig":{"Binds":null,
            "ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"default","PortBindings":{},
            "RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":true,"ConsoleSize":[40,120],
            "CapAdd":null,"CgroupnsMode":"","Isolation":"wasm","Memory":0,"NanoCpus":0,"CpuQuota":0,
            "MaskedPaths":null,"ReadonlyPaths":null},"NetworkingConfig":{"EndpointsConfig":{}}}"#;
        let request = parse(&Query::parse("name=%2Fx"), body.as_bytes()).unwrap();
        assert_eq!((request.isolation.as_str(), request.name.as_deref()), ("wasm", Some("x")));
        assert_eq!(request.host_config.auto_remove, Some(true));
    }

    #[test]
    fn a_command_may_be_one_word_and_no_network_is_a_network_mode() {
        let body = r#"{"Image":"x","Cmd":"sh","Entrypoint":["a"],"NetworkDisabled":true}"#;
        let request = parse(&Query::default(), body.as_bytes()).unwrap();
        assert_eq!(request.config.cmd, Some(vec!["sh".to_owned()]));
        assert_eq!(request.host_config.network_mode.as_deref(), Some("none"));
    }

    #[test]
    fn words_that_docker_does_not_know_are_refused_in_its_own() {
        let check = |host: &str, expected: &str| {
            let body = format!("{{\"Image\":\"x\",{host}}}");
            let failure = parse(&Query::default(), body.as_bytes()).unwrap_err();
            assert_eq!((failure.status.as_u16(), failure.message.as_str()), (400, expected), "{host}");
        };
        check(
            r#""HostConfig":{"RestartPolicy":{"Name":"sometimes"}}"#,
            "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        );
        check(r#""HostConfig":{"CgroupnsMode":"odd"}"#, "invalid cgroup namespace mode: odd");
        check(
            r#""HostConfig":{"Mounts":[{"Type":"odd"}]}"#,
            "invalid mount config for type \"odd\": mount type unknown",
        );
        check(
            r#""NetworkingConfig":{"EndpointsConfig":{"bridge":{"IPAMConfig":{"IPv4Address":"10.0.0.9"}}}}"#,
            "invalid config for network bridge: invalid endpoint settings: user specified IP address is supported for user-defined networks only",
        );
        check(
            r#""NetworkingConfig":{"EndpointsConfig":{"bridge":{"MacAddress":"02:42:ac:11:65:43"}}}"#,
            "--mac-address is not supported: a container's networks have no hardware of their own yet",
        );
    }

    #[test]
    fn a_body_without_image_or_of_the_wrong_shape_is_refused() {
        for body in ["{}", "[]", "", "{\"Image\":7}", "{\"Image\":\"x\",\"HostConfig\":[]}"] {
            assert!(parse(&Query::default(), body.as_bytes()).is_err(), "{body}");
        }
    }
}
