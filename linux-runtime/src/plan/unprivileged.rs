//! A container of a user who has no rights over the machine: what the host would open and a helper assemble, the child does
//! by itself, as root of its own namespaces.

use oci_spec::runtime::LinuxNamespaceType;

use super::Draft;
use super::namespaces::Namespaces;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Step};

/// Whether this is one; a sentence for what such a user cannot have.
pub(super) fn is_unprivileged(namespaces: &Namespaces, facts: &Facts) -> Result<bool> {
    if facts.administers() {
        return Ok(false);
    }
    let sentence = if !namespaces.has(LinuxNamespaceType::User) {
        "`linux.namespaces` has no user namespace, without which a user who lacks CAP_SYS_ADMIN may make no other"
    } else if namespaces.has_offsets() {
        "`linux.timeOffsets` need CAP_SYS_ADMIN: nobody else makes a time namespace for others to enter"
    } else {
        return Ok(true);
    };
    Err(Error::Lacks(sentence.into()))
}

impl Draft {
    /// Hands the opening of trees to the child: open_tree(2) copies mounts only for who has rights over their namespace,
    /// and the child's is a copy of the host's. Nothing of the container runs yet that could exchange what a path names.
    pub(super) fn open_as_child(&mut self) {
        let opens = |step: &mut Step| {
            let tree =
                matches!(step.action, Action::OpenRoot { .. } | Action::OpenSource { .. } | Action::OpenDevice { .. });
            tree && step.actor == Actor::Host
        };
        let opened: Vec<Step> = self.steps.extract_if(.., opens).collect();
        opened.into_iter().for_each(|step| self.push(Actor::Child, step.action));
    }
}
