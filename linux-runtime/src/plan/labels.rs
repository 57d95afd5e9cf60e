//! What confines a program besides namespaces: the label that a security module gives it at its next execve, and a session
//! keyring of its own.

use oci_spec::runtime::Process;

use super::{Draft, c_string};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, SecurityModule};

impl Draft {
    /// Asked for where /proc is still the runtime's own, not what an image calls so (CVE-2019-16884, CVE-2025-52881): by the
    /// child before it has its root, or by the helper that joins a container, whose child inherits it.
    pub(super) fn labels(&mut self, process: &Process, actor: Actor, facts: &Facts) -> Result<()> {
        let profile = process.apparmor_profile().as_deref().filter(|name| !name.is_empty());
        // Where there is no such module, everything is unconfined.
        if let Some(profile) = profile.filter(|name| facts.apparmor || *name != "unconfined") {
            if !facts.apparmor {
                return Err(missing("process.apparmorProfile", profile, "AppArmor"));
            }
            let label = c_string(format!("exec {profile}"), "an AppArmor profile")?;
            self.push(actor, Action::Label { module: SecurityModule::AppArmor, label });
        }
        if let Some(label) = process.selinux_label().as_deref().filter(|label| !label.is_empty()) {
            if !facts.selinux {
                return Err(missing("process.selinuxLabel", label, "SELinux"));
            }
            let label = c_string(label, "an SELinux label")?;
            self.push(actor, Action::Label { module: SecurityModule::SeLinux, label });
        }
        Ok(())
    }

    pub(super) fn keyring(&mut self, name: Option<&str>) -> Result<()> {
        if let Some(name) = name {
            let name = c_string(name, "a keyring's name")?;
            self.push(Actor::Child, Action::SessionKeyring { name });
        }
        Ok(())
    }
}

fn missing(field: &str, value: &str, module: &str) -> Error {
    Error::Plan(format!("`{field}` `{value}`: this kernel has no {module} that is enabled"))
}
