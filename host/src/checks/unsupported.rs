//! Options of Docker that nothing here honours, each with what to do instead where there is something.

use bollard_stubs::models::HostConfig;

use crate::error::{Error, Result};

/// The names of the one runtime there is: its own, and those that every Docker has for its default.
const RUNTIMES: [&str; 4] = ["", "proa", "runc", "io.containerd.runc.v2"];

pub(super) fn check(host: &HostConfig) -> Result<()> {
    if let Some(runtime) = host.runtime.as_deref().filter(|name| !RUNTIMES.contains(name)) {
        // Docker's words: another's name would promise that one's behaviour.
        return Err(Error::Invalid(format!("unknown or invalid runtime name: {runtime}")));
    }
    let asked = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let table = [
        (
            asked(&host.cgroup_parent),
            "--cgroup-parent is not supported: each host keeps its containers below one group of its own",
        ),
        (asked(&host.cgroup), "HostConfig.Cgroup is not supported: a container's group is its own"),
        (
            asked(&host.volume_driver) && host.volume_driver.as_deref() != Some("local"),
            "--volume-driver is not supported: the only driver is `local`",
        ),
        (
            host.device_requests.as_ref().is_some_and(|list| !list.is_empty()),
            "--gpus is not supported: name the devices with --device",
        ),
        (any(&host.links), "--link is not supported: name the other container in --add-host"),
        (
            host.storage_opt.as_ref().is_some_and(|map| !map.is_empty()),
            "--storage-opt is supported only for drivers that can bound a container's disk: overlayfs cannot here",
        ),
        (host.publish_all_ports == Some(true), "--publish-all is not supported yet: name the ports with -p"),
    ];
    match table.into_iter().find(|(refused, _)| *refused) {
        Some((_, sentence)) => Err(Error::Unsupported(sentence.to_owned())),
        None => Ok(()),
    }
}
