//! What a door asks for, and how an image's configuration and a request's become one.

use std::collections::HashMap;

use bollard_stubs::models::{ContainerConfig, ContainerCreateBody, HostConfig};

use crate::error::{Error, Result};

/// Labels of the request that steer the host. An image's labels never do (CVE-2026-53488).
pub const ISOLATION_LABEL: &str = "proa.isolation";
pub const TENANT_LABEL: &str = "proa.tenant";

/// The most volumes of one container that its image and the request may name.
const VOLUMES_MAX: usize = 256;

/// One container wanted, as `POST /containers/create` and `POST /proa/plan` bring it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Without a leading slash; `None` lets the host choose.
    pub name: Option<String>,
    /// `linux/amd64` or `wasi/wasm`; `None` takes what suits the isolation.
    pub platform: Option<String>,
    /// `HostConfig.Isolation` as it was typed; empty leaves the choice to label, policy and image.
    pub isolation: String,
    pub config: ContainerConfig,
    pub host_config: HostConfig,
}

impl Request {
    /// Splits Docker's body, whose generated type has no room for our isolations.
    pub fn new(
        name: Option<String>,
        platform: Option<String>,
        isolation: String,
        body: ContainerCreateBody,
    ) -> Request {
        let host_config = body.host_config.clone().unwrap_or_default();
        Request { name, platform, isolation, config: config_of(body), host_config }
    }

    /// The isolation asked for: the flag, else the label.
    pub fn asked_isolation(&self) -> &str {
        if self.isolation.is_empty() { self.label(ISOLATION_LABEL).unwrap_or_default() } else { &self.isolation }
    }

    /// One of the request's own labels.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }
}

/// The image's configuration with the request's on top, by Docker's rules.
///
/// # Errors
/// `Invalid` for an image whose environment has an entry without `=` (CVE-2026-57231: such an entry copied a variable
/// of the engine).
pub fn merge(image: &oci_spec::image::Config, request: &ContainerConfig) -> Result<ContainerConfig> {
    if let Some(relative) = request.working_dir.as_deref().filter(|dir| !dir.is_empty() && !dir.starts_with('/')) {
        let refusal = format!("the working directory '{relative}' is invalid, it needs to be an absolute path");
        return Err(Error::Invalid(refusal));
    }
    let mut merged = request.clone();
    let own_entrypoint = request.entrypoint.as_ref().is_some_and(|entrypoint| !entrypoint.is_empty());
    if !own_entrypoint {
        if request.cmd.as_ref().is_none_or(Vec::is_empty) {
            merged.cmd.clone_from(image.cmd());
        }
        // An empty list resets the image's entrypoint, a missing one keeps it.
        if request.entrypoint.is_none() {
            merged.entrypoint.clone_from(image.entrypoint());
        }
    } else if request.entrypoint.as_deref() == Some(&[String::new()]) {
        merged.entrypoint = None;
    }
    merged.env =
        Some(merge_env(image.env().as_deref().unwrap_or_default(), request.env.as_deref().unwrap_or_default())?);
    merged.user = non_empty(request.user.clone()).or_else(|| image.user().clone()).or_else(|| Some(String::new()));
    merged.working_dir =
        non_empty(request.working_dir.clone()).or_else(|| image.working_dir().clone()).or_else(|| Some(String::new()));
    merged.stop_signal = non_empty(request.stop_signal.clone()).or_else(|| image.stop_signal().clone());
    merged.exposed_ports = union(image.exposed_ports().as_deref(), request.exposed_ports.as_deref());
    merged.volumes = union(image.volumes().as_deref(), request.volumes.as_deref());
    // Each is a folder, a mount and a line of every answer about the container, and an image may name 400,000.
    if let Some(many) = merged.volumes.as_ref().map(Vec::len).filter(|many| *many > VOLUMES_MAX) {
        return Err(Error::Invalid(format!(
            "the image and the request name {many} volumes, the limit is {VOLUMES_MAX}"
        )));
    }
    let mut labels: HashMap<String, String> = image.labels().clone().unwrap_or_default();
    labels.extend(request.labels.clone().unwrap_or_default());
    merged.labels = Some(labels);
    Ok(merged)
}

/// What `--entrypoint` means for a Wasm image: the guest's name, its argument 0. Which module runs is the image's to say;
/// another module's name is refused rather than run under a false one.
///
/// # Errors
/// `Invalid` with the image's own module.
pub fn check_wasm_entrypoint(image: &oci_spec::image::Config, request: &ContainerConfig) -> Result<()> {
    let asked = request.entrypoint.as_ref().and_then(|words| words.first()).filter(|word| word.ends_with(".wasm"));
    let own = image.entrypoint().as_ref().and_then(|words| words.first());
    match asked {
        Some(asked) if own.is_none_or(|own| own != asked) => {
            let own = own.map_or_else(|| "the image's own".to_owned(), |own| format!("`{own}`"));
            Err(Error::Invalid(format!(
                "--entrypoint cannot choose another module of a Wasm image: it runs {own}, not `{asked}`"
            )))
        }
        _ => Ok(()),
    }
}

/// Program and arguments; empty where neither image nor request names any.
pub fn arguments(config: &ContainerConfig) -> Vec<String> {
    let (entrypoint, cmd) = (config.entrypoint.iter().flatten(), config.cmd.iter().flatten());
    entrypoint.chain(cmd).cloned().collect()
}

/// Puts `entries` over `base`: `NAME=value` sets, `NAME` alone removes.
pub fn merge_entries(mut base: Vec<String>, entries: &[String]) -> Vec<String> {
    for entry in entries {
        let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
        let found = base.iter().position(|other| other.split_once('=').is_some_and(|(key, _)| key == name));
        match (found, entry.contains('=')) {
            (Some(at), true) => base[at].clone_from(entry),
            (Some(at), false) => drop(base.remove(at)),
            (None, true) => base.push(entry.clone()),
            (None, false) => {}
        }
    }
    base
}

fn merge_env(image: &[String], request: &[String]) -> Result<Vec<String>> {
    for entry in image {
        if !entry.contains('=') || entry.starts_with('=') || entry.contains('\0') {
            return Err(Error::Invalid(format!("the image's environment entry {entry:?} is not `NAME=value`")));
        }
    }
    for entry in request {
        if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
            return Err(Error::Invalid(format!("invalid environment variable: {entry:?}")));
        }
    }
    // What takes a name away is kept, as dockerd keeps it: it takes away the engine's own variables too.
    let without = request.iter().filter(|entry| !entry.contains('=')).cloned();
    Ok(merge_entries(image.to_vec(), request).into_iter().chain(without).collect())
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn union(image: Option<&[String]>, request: Option<&[String]>) -> Option<Vec<String>> {
    let mut all: Vec<String> = image.into_iter().chain(request).flatten().cloned().collect();
    all.sort();
    all.dedup();
    (!all.is_empty()).then_some(all)
}

fn config_of(body: ContainerCreateBody) -> ContainerConfig {
    ContainerConfig {
        hostname: body.hostname,
        domainname: body.domainname,
        user: body.user,
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        exposed_ports: body.exposed_ports,
        tty: body.tty,
        open_stdin: body.open_stdin,
        stdin_once: body.stdin_once,
        env: body.env,
        cmd: body.cmd,
        healthcheck: body.healthcheck,
        args_escaped: body.args_escaped,
        image: body.image,
        volumes: body.volumes,
        working_dir: body.working_dir,
        entrypoint: body.entrypoint,
        network_disabled: body.network_disabled,
        on_build: body.on_build,
        labels: body.labels,
        stop_signal: body.stop_signal,
        stop_timeout: body.stop_timeout,
        shell: body.shell,
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::image::ConfigBuilder;

    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        (text != "-")
            .then(|| text.split_whitespace().map(|word| if word == "''" { "" } else { word }.to_owned()).collect())
    }

    #[track_caller]
    fn check(image: (&str, &str), request: (&str, &str), expected: &str) {
        let mut config = ConfigBuilder::default().build().unwrap();
        config.set_entrypoint(words(image.0));
        config.set_cmd(words(image.1));
        let asked = ContainerConfig { entrypoint: words(request.0), cmd: words(request.1), ..Default::default() };
        assert_eq!(arguments(&merge(&config, &asked).unwrap()).join(" "), expected);
    }

    #[test]
    fn entrypoint_and_command_follow_docker_s_rules() {
        check(("entry", "cmd"), ("-", "-"), "entry cmd");
        check(("entry", "cmd"), ("-", "other"), "entry other");
        check(("entry", "cmd"), ("own", "-"), "own");
        check(("entry", "cmd"), ("own", "arg"), "own arg");
        check(("entry", "cmd"), ("''", "arg"), "arg");
        check(("entry", "cmd"), ("", "-"), "cmd");
        check(("-", "-"), ("-", "-"), "");
    }

    #[test]
    fn the_request_s_environment_wins_and_removes() {
        let image = ["A=1".to_owned(), "B=2".to_owned(), "C=3".to_owned()];
        let request = ["B=x".to_owned(), "C".to_owned(), "D=".to_owned()];
        assert_eq!(merge_env(&image, &request).unwrap(), ["A=1", "B=x", "D=", "C"]);
    }

    #[test]
    fn an_image_s_environment_without_a_value_is_refused() {
        for entry in ["SECRET", "=x", "", "A\0=b"] {
            assert!(merge_env(&[entry.to_owned()], &[]).is_err(), "{entry:?}");
        }
    }

    #[test]
    fn an_entrypoint_names_a_wasm_guest_and_no_other_module() {
        let mut image = ConfigBuilder::default().build().unwrap();
        let check = |image: &oci_spec::image::Config, typed: &str| {
            let asked = ContainerConfig { entrypoint: words(typed), ..Default::default() };
            check_wasm_entrypoint(image, &asked).is_ok()
        };
        assert!(check(&image, "-") && check(&image, "name") && !check(&image, "/other.wasm"));
        image.set_entrypoint(words("/app.wasm"));
        assert!(check(&image, "/app.wasm") && check(&image, "''") && !check(&image, "/other.wasm"));
    }

    #[test]
    fn an_image_s_labels_never_steer_the_host() {
        let mut config = ConfigBuilder::default().build().unwrap();
        config.set_labels(Some(HashMap::from([(ISOLATION_LABEL.to_owned(), "linux".to_owned())])));
        let request = Request::default();
        assert!(merge(&config, &request.config).unwrap().labels.unwrap().contains_key(ISOLATION_LABEL));
        assert_eq!(request.asked_isolation(), "");
    }
}
