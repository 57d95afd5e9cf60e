//! Containers whose namespaces another one enters. A process id says who was meant only while that process lives, so it
//! is looked at before the kernel is asked and once more afterwards.

use std::sync::Arc;

use super::Host;
use crate::error::{Error, Result};
use crate::spec::namespaces::{self, Joined, Whose};
use crate::state::{Container, Record};

impl Host {
    /// The first processes of the containers whose namespaces `record` asks for.
    ///
    /// # Errors
    /// `FindContainer` for one that is not there, `Conflict` for one that does not run, `Invalid` for one that cannot
    /// share.
    pub(super) fn join(&self, record: &Record) -> Result<Joined> {
        if record.isolation.is_wasm() {
            return Ok(Joined::default());
        }
        let pid = self.first_process(record, &namespaces::pid(record)?, "PID")?;
        let ipc = self.first_process(record, &namespaces::ipc(record)?, "IPC")?;
        if let Whose::Of(name) = namespaces::ipc(record)? {
            let mode = self.containers.find(&name)?.with(|donor| donor.host_config.ipc_mode.clone());
            if mode.as_deref() != Some("shareable") && mode.as_deref() != Some("host") {
                return Err(Error::Invalid(format!(
                    "can't join IPC of container {name}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
        }
        Ok(Joined { pid, ipc })
    }

    /// Whether they are still those: else a number may have been another process's meanwhile.
    pub(super) fn still_joined(&self, record: &Record, joined: Joined) -> Result<()> {
        if self.join(record)? == joined {
            return Ok(());
        }
        Err(Error::Conflict("the container whose namespace was to be joined has ended meanwhile".to_owned()))
    }

    fn first_process(&self, record: &Record, whose: &Whose, name: &str) -> Result<Option<u32>> {
        let Whose::Of(container) = whose else { return Ok(None) };
        let donor: Arc<Container> = self.containers.find(container)?;
        if donor.id() == record.id {
            return Err(Error::Invalid(format!("cannot join own {name} namespace")));
        }
        if donor.with(|donor| donor.isolation) != record.isolation {
            return Err(Error::Invalid(format!(
                "cannot join the {name} namespace of container {container}: it is of another isolation"
            )));
        }
        let process = donor.running()?.pid();
        let lives = |pid: u32| {
            let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            groups.contains(donor.id())
        };
        process.filter(|pid| lives(*pid)).map(Some).ok_or_else(|| {
            Error::Conflict(format!("cannot join {name} namespace of a non running container: {container}"))
        })
    }
}
