//! A container's end and its next start as one wish.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::state::Container;

impl Host {
    /// Stops a container if it runs, and starts it. One that is removed when it ends stays for this.
    pub async fn restart(
        self: &Arc<Self>,
        container: &Arc<Container>,
        signal: Option<&str>,
        seconds: Option<i64>,
    ) -> Result<()> {
        container.keep(container.status().is_running());
        match self.stop(container, signal, seconds).await {
            Ok(()) | Err(Error::NotModified) => {}
            Err(error) => {
                container.keep(false);
                return Err(error);
            }
        }
        self.start(container).await?;
        self.events.container(container, "restart", &[]);
        Ok(())
    }
}
