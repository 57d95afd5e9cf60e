//! Tells of networks what dockerd tells: who was connected, and who no longer is.

use crate::host::Host;
use crate::network::{self, Mode, NETWORKS};
use crate::state::Container;

impl Host {
    /// `connect` before a container starts, `disconnect` once it has ended.
    pub(crate) fn tell_of_network(&self, action: &'static str, container: &Container) {
        let mode = container.with(|record| record.host_config.network_mode.clone()).unwrap_or_default();
        // Whoever joined another's network is in none of its own.
        let Ok(name) = Mode::parse(&mode).map(Mode::network) else { return };
        let Some((name, driver)) = NETWORKS.iter().find(|(known, _)| *known == name) else { return };
        let attributes =
            [("container", container.id().to_owned()), ("name", (*name).to_owned()), ("type", (*driver).to_owned())];
        self.events.network(action, &network::id(&self.id, name), &attributes);
    }
}
