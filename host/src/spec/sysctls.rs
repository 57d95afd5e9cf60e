//! `--sysctl`: kernel parameters that belong to a namespace of the container's own, by Docker's list.

use crate::error::{Error, Result};
use crate::network::Mode;
use crate::spec::namespaces::{self, Whose};
use crate::state::record::Record;

/// Of the IPC namespace, besides everything below `fs.mqueue.`.
const OF_IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Refuses a parameter of the whole node, or of a namespace that is not the container's.
pub fn check(record: &Record) -> Result<()> {
    let refuse = |sentence: String| Err(Error::Invalid(sentence));
    for (name, value) in record.host_config.sysctls.iter().flatten() {
        let plain = name.split('.').all(|part| !part.is_empty() && !part.contains('/'));
        if !plain || name.contains('\0') || value.contains('\0') {
            return refuse(format!("sysctl '{name}' is not allowed"));
        }
        if OF_IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
            if namespaces::ipc(record)? == Whose::Node {
                return refuse(format!("sysctl \"{name}\" is not allowed in the hosts ipc namespace"));
            }
        } else if name.starts_with("net.") {
            if Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default())? == Mode::Host {
                return refuse(format!("sysctl \"{name}\" not allowed in host network namespace"));
            }
        } else if name == "kernel.domainname" {
            if namespaces::uts(record)? == Whose::Node {
                return refuse(format!("sysctl \"{name}\" is not allowed in the hosts uts namespace"));
            }
        } else {
            return refuse(format!("sysctl \"{name}\" is not in a separate kernel namespace"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn only_parameters_of_the_container_s_own_namespaces_are_set() {
        let check = |name: &str, edit: fn(&mut Record), allowed: bool| {
            let mut record = crate::spec::tests::record(proa_sandbox::Isolation::Linux);
            record.host_config.sysctls = Some(HashMap::from([(name.to_owned(), "1".to_owned())]));
            edit(&mut record);
            assert_eq!(super::check(&record).is_ok(), allowed, "{name}");
        };
        for name in ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "kernel.domainname"] {
            check(name, |_| {}, true);
        }
        for name in ["kernel.core_pattern", "vm.swappiness", "net/ipv4", "net.../../kernel/core_pattern", "net.", ""] {
            check(name, |_| {}, false);
        }
        check("net.core.somaxconn", |record| record.host_config.network_mode = Some("host".to_owned()), false);
        check("kernel.shmmax", |record| record.host_config.ipc_mode = Some("host".to_owned()), false);
    }
}
