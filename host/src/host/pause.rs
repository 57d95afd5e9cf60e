//! Holding a container where it stands, and letting it go on.

use proa_sandbox::Sandbox;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::state::{Container, Status};

impl Host {
    /// Holds everything in a container.
    pub async fn pause(&self, container: &Container) -> Result<()> {
        // No program comes in while it stops.
        let _motion = container.motion.write().await;
        let sandbox = container.running()?;
        if container.status() == Status::Paused {
            return Err(Error::Conflict(format!("container {} is already paused", container.id())));
        }
        let failed =
            |source| Error::Sandbox { attempt: "pause container", container: container.id().to_owned(), source };
        sandbox.pause().await.map_err(failed)?;
        if let Err(error) = container.set_paused(true) {
            // What is not recorded has not happened; the first error is the one to tell.
            let _ = sandbox.resume().await;
            return Err(error);
        }
        self.events.container(container, "pause", &[]);
        Ok(())
    }

    /// Lets it go on.
    pub async fn unpause(&self, container: &Container) -> Result<()> {
        let _motion = container.motion.write().await;
        // Asked first, as dockerd does: one that does not run is not paused either.
        if container.status() != Status::Paused {
            return Err(Error::NotPaused(container.id().to_owned()));
        }
        let sandbox = container.running()?;
        self.go_on(container, &sandbox).await
    }

    /// Lets a paused container see the signal that is to end it.
    pub(super) async fn go_on_if_paused(&self, container: &Container, sandbox: &Sandbox) -> Result<()> {
        if container.status() == Status::Paused { self.go_on(container, sandbox).await } else { Ok(()) }
    }

    async fn go_on(&self, container: &Container, sandbox: &Sandbox) -> Result<()> {
        let failed =
            |source| Error::Sandbox { attempt: "unpause container", container: container.id().to_owned(), source };
        match sandbox.resume().await {
            Ok(()) => {}
            // It ended by the signal, as it should.
            Err(_) if !container.status().is_running() => return Ok(()),
            Err(source) => return Err(failed(source)),
        }
        match container.set_paused(false) {
            Ok(()) => self.events.container(container, "unpause", &[]),
            // Ended meanwhile, which is all there is to say.
            Err(_) if !container.status().is_running() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Brings the record of an adopted container in line with what is.
    pub(super) async fn adopt_pause(&self, container: &Container, sandbox: &Sandbox, paused: bool) -> Result<()> {
        let recorded = container.status() == Status::Paused;
        if paused && !recorded {
            // The last host died while it stopped: it may stand half way.
            let failed =
                |source| Error::Sandbox { attempt: "pause container", container: container.id().to_owned(), source };
            sandbox.pause().await.map_err(failed)?;
        }
        if paused == recorded { Ok(()) } else { container.set_paused(paused) }
    }
}
