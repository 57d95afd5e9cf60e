//! What was typed, turned into what it means: the one step that looks at the caller's files, folder and environment.

use std::path::PathBuf;

use anyhow::{Context, bail};
use bollard_stubs::models::{ContainerCreateBody, HostConfig};
use serde::Serialize;

use super::args::{ContainerArgs, Pull};
use super::{endpoints, environment, health, host_config, mounts, pairs, ports};
use crate::cli::image::Image;
use crate::cli::query::Query;

/// A container to be made, ready to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) image: Image,
    pub(crate) name: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) pull: Pull,
    pub(crate) quiet: bool,
    /// Where its id is written.
    pub(crate) cidfile: Option<PathBuf>,
    /// Its image is filled in last, because a file's image has no name before it is loaded.
    pub(crate) body: Body,
}

/// The body of `POST /containers/create` (Docker Engine API 1.51).
#[derive(Debug, Default, Serialize)]
pub(crate) struct Body {
    #[serde(flatten)]
    pub(crate) config: ContainerCreateBody,
    #[serde(rename = "HostConfig")]
    pub(crate) host: Host,
}

/// The part of the body that is about this node. Docker's type has no room for our isolations.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Host {
    #[serde(flatten)]
    pub(crate) config: HostConfig,
    #[serde(rename = "Isolation", skip_serializing_if = "Option::is_none")]
    isolation: Option<String>,
}

/// Which of a container's streams the caller takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Attached {
    /// `-a`: those named, and standard input wherever it is open; both outputs where none is named.
    fn new(named: &[String], interactive: bool) -> anyhow::Result<Attached> {
        let mut attached = Attached { stdin: interactive, stdout: named.is_empty(), stderr: named.is_empty() };
        for stream in named {
            match stream.to_ascii_lowercase().as_str() {
                "stdin" => attached.stdin = true,
                "stdout" => attached.stdout = true,
                "stderr" => attached.stderr = true,
                _ => bail!("`{stream}` is no stream to attach to: valid streams are STDIN, STDOUT and STDERR"),
            }
        }
        Ok(attached)
    }
}

impl Request {
    /// Lowers `args`; `stays` when the caller stays for the output.
    pub(crate) fn new(mut args: ContainerArgs, stays: bool) -> anyhow::Result<Request> {
        let mut words = std::mem::take(&mut args.image_and_command).into_iter();
        let image = Image::parse(&words.next().context("no image was given")?)?;
        let published = ports::parse(&args.network.publish)?;
        let mut exposed: Vec<String> = published.keys().cloned().collect();
        exposed.extend(ports::exposed(&args.network.expose)?);
        let (mut binds, anonymous) = mounts::volumes(&args.storage.volume)?;
        binds.extend(mounts::directories(&args.storage.dir)?);
        let (network, networking) = endpoints::parse(&args.network)?;
        let attached = Attached::new(&args.attach, args.interactive)?;
        let mut labels = pairs::labels(&args.label_file, &args.label)?;
        labels.extend(args.confinement.tenant.clone().map(|tenant| ("proa.tenant".to_owned(), tenant)));
        let config = ContainerCreateBody {
            hostname: args.network.hostname.clone(),
            domainname: args.network.domainname.clone(),
            user: args.confinement.user.clone(),
            attach_stdin: Some(stays && attached.stdin),
            attach_stdout: Some(stays && attached.stdout),
            attach_stderr: Some(stays && attached.stderr),
            tty: Some(args.tty),
            open_stdin: Some(args.interactive),
            stdin_once: Some(stays && args.interactive && attached.stdin),
            env: Some(environment::collect(&args.env_file, &args.env)?),
            cmd: Some(words.collect()).filter(|words: &Vec<String>| !words.is_empty()),
            // An empty entrypoint resets the image's, which the API wants to hear as a list of one empty word.
            entrypoint: args.entrypoint.clone().map(|program| vec![program]),
            working_dir: args.workdir.clone(),
            labels: Some(labels),
            volumes: Some(anonymous).filter(|volumes| !volumes.is_empty()),
            exposed_ports: Some(exposed).filter(|ports| !ports.is_empty()),
            healthcheck: health::parse(&args.health)?,
            stop_signal: args.stop_signal.clone(),
            stop_timeout: args.stop_timeout,
            networking_config: networking,
            ..ContainerCreateBody::default()
        };
        let isolation = args.confinement.isolation.as_deref().map(isolation).transpose()?;
        let host = host_config::lower(&args, network, binds, published)?;
        Ok(Request {
            image,
            name: args.name,
            platform: args.platform,
            pull: args.pull,
            quiet: args.quiet,
            cidfile: args.cidfile,
            body: Body { config, host: Host { config: host, isolation } },
        })
    }

    /// The path of the request that creates it.
    pub(crate) fn path(&self) -> String {
        Query::new("/containers/create")
            .maybe("name", self.name.as_deref().filter(|name| !name.is_empty()))
            .maybe("platform", self.platform.as_deref())
            .into_path()
    }
}

impl Body {
    /// The image's name.
    pub(crate) fn image(&self) -> &str {
        self.config.image.as_deref().unwrap_or_default()
    }

    pub(crate) fn tty(&self) -> bool {
        self.config.tty == Some(true)
    }

    pub(crate) fn open_stdin(&self) -> bool {
        self.config.open_stdin == Some(true)
    }

    pub(crate) fn auto_remove(&self) -> bool {
        self.host.config.auto_remove == Some(true)
    }

    pub(crate) fn attached(&self) -> Attached {
        let is = |stream: Option<bool>| stream == Some(true);
        Attached {
            stdin: is(self.config.attach_stdin),
            stdout: is(self.config.attach_stdout),
            stderr: is(self.config.attach_stderr),
        }
    }
}

/// The model's name, if it is one; `auto` is the absence of a wish.
fn isolation(model: &str) -> anyhow::Result<String> {
    if !matches!(model, "auto" | "default" | "") {
        model.parse::<proa_sandbox::Isolation>()?;
    }
    Ok(model.to_owned())
}

#[cfg(test)]
mod tests;
