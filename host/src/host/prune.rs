//! Removes containers that do not run.

use std::sync::Arc;

use crate::error::Result;
use crate::events::Subject;
use crate::host::Host;
use crate::state::Record;

/// What was removed.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Ids.
    pub containers: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}

impl Host {
    /// Removes every container that does not run and that `fits`.
    pub async fn prune_containers(self: &Arc<Self>, fits: impl Fn(&Record) -> bool) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for container in self.containers.all() {
            if container.status().is_active() || !container.with(|record| fits(record)) {
                continue;
            }
            let size = self.size_of(&container).await?.written + container.log().size();
            match self.remove(&container, false).await {
                Ok(()) => {
                    pruned.containers.push(container.id().to_owned());
                    pruned.reclaimed += size;
                }
                // It was started, or removed by somebody else, at this moment.
                Err(error) => tracing::warn!(container = container.id(), "prune it: {}", error.sentence()),
            }
        }
        self.events.pruned(Subject::Container, pruned.reclaimed);
        Ok(pruned)
    }
}
