//! Marks on what a group sends, for the host's queues: v1 only.

use oci_spec::runtime::LinuxNetwork;

use super::super::setting::Setting;
use super::refused;
use crate::error::Result;

pub(super) fn class(network: &LinuxNetwork) -> Vec<Setting> {
    network.class_id().filter(|id| *id != 0).map(|id| Setting::new("net_cls.classid", id)).into_iter().collect()
}

pub(super) fn priorities(network: &LinuxNetwork) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for one in network.priorities().iter().flatten() {
        let (name, priority) = (one.name(), one.priority());
        // A second word or line would be another entry.
        if name.is_empty() || name.contains(char::is_whitespace) {
            return refused("network.priorities", &format!("`{name}` is no interface"));
        }
        settings.push(Setting::new("net_prio.ifpriomap", format!("{name} {priority}")));
    }
    Ok(settings)
}
