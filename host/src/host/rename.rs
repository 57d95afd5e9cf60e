//! Another name for a container.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::state::{Container, Status, table};

impl Host {
    /// Renames a container, in whatever state it is; its old name is free at once.
    ///
    /// # Errors
    /// `Invalid` for no name, a bad one or its own, `ReserveName` for another's, with Docker's words.
    pub async fn rename(&self, container: &Container, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name.is_empty() {
            return Err(Error::Invalid("Neither old nor new names may be empty".to_owned()));
        }
        // Whoever starts or removes it goes by one name throughout.
        let _turn = container.turn.lock().await;
        let old = container.with(|record| record.name.clone());
        if old == name {
            let sentence = "Renaming a container with the same name as its current name";
            return Err(Error::Invalid(sentence.to_owned()));
        }
        if matches!(container.status(), Status::Removing | Status::Dead) {
            return Err(Error::Conflict(format!("container {} is marked for removal", container.id())));
        }
        table::check_name(name).map_err(allocating)?;
        self.containers.reserve(name, container.id()).map_err(allocating)?;
        if let Err(error) = container.edit(|record| name.clone_into(&mut record.name)) {
            self.containers.release(name, container.id());
            return Err(error);
        }
        self.containers.release(&old, container.id());
        self.events.container(container, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}

/// Docker's beginning of these sentences.
fn allocating(error: Error) -> Error {
    match error {
        Error::ReserveName { .. } => Error::Conflict(format!("Error when allocating new name: {error}")),
        error => Error::Invalid(format!("Error when allocating new name: {error}")),
    }
}
