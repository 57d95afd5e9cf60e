//! `--security-opt` and `--privileged`: what of a native container's confinement is taken back. Docker writes an option
//! `NAME`, `NAME=VALUE` or, long ago, `NAME:VALUE`.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompBuilder};

use crate::error::{Error, Result};
use crate::spec::{built, seccomp};
use crate::state::record::Record;

/// What a request says about its confinement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// `None` leaves it at ours: no new privileges.
    pub no_new_privileges: Option<bool>,
    pub seccomp: Seccomp,
    /// /proc and /sys as the kernel shows them.
    pub system_paths_unconfined: bool,
}

/// Which system calls a guest may make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// Our own filter.
    #[default]
    Builtin,
    Unconfined,
    /// A profile in Docker's format, as the client read it from its file.
    Profile(String),
}

impl Security {
    /// Reads the options.
    ///
    /// # Errors
    /// `Invalid` for what is no option, `Unsupported` for one that nothing here can honour.
    pub fn parse(options: &[String]) -> Result<Security> {
        let mut security = Security::default();
        for option in options {
            security.take(option)?;
        }
        Ok(security)
    }

    fn take(&mut self, option: &str) -> Result<()> {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        let invalid = || Error::Invalid(format!("invalid --security-opt: \"{option}\""));
        match (name, value) {
            ("no-new-privileges", "") => self.no_new_privileges = Some(true),
            ("no-new-privileges", value) => self.no_new_privileges = Some(value.parse().map_err(|_| invalid())?),
            ("seccomp", "builtin") => self.seccomp = Seccomp::Builtin,
            ("seccomp", "unconfined") => self.seccomp = Seccomp::Unconfined,
            ("seccomp", "") => return Err(invalid()),
            ("seccomp", profile) => self.seccomp = Seccomp::Profile(profile.to_owned()),
            ("systempaths", "unconfined") => self.system_paths_unconfined = true,
            // There is no such module's profile here to take away.
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("apparmor", profile) if !profile.is_empty() => {
                return Err(Error::Unsupported(format!(
                    "AppArmor profile `{profile}` cannot be applied: use unconfined"
                )));
            }
            ("label", label) if !label.is_empty() => {
                return Err(Error::Unsupported(format!(
                    "SELinux label option `{label}` cannot be applied: use disable"
                )));
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

/// What a record's options and `--privileged` come to.
pub fn of(record: &Record) -> Result<Security> {
    let mut security = Security::parse(record.host_config.security_opt.as_deref().unwrap_or_default())?;
    if record.host_config.privileged == Some(true) {
        security.system_paths_unconfined = true;
        security.no_new_privileges.get_or_insert(false);
        if security.seccomp == Seccomp::Builtin {
            security.seccomp = Seccomp::Unconfined;
        }
    }
    Ok(security)
}

/// The filter of every process in the container; `None` is our own.
pub fn filter(record: &Record) -> Result<Option<LinuxSeccomp>> {
    match of(record)?.seccomp {
        Seccomp::Builtin => Ok(None),
        Seccomp::Unconfined => {
            built(LinuxSeccompBuilder::default().default_action(LinuxSeccompAction::ScmpActAllow).build()).map(Some)
        }
        Seccomp::Profile(text) => {
            let host = &record.host_config;
            let held = super::capabilities::chosen(host)?;
            seccomp::lower(&text, &held).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_docker_writes_them() {
        let parse = |option: &str| Security::parse(&[option.to_owned()]);
        assert_eq!(parse("no-new-privileges").unwrap().no_new_privileges, Some(true));
        assert_eq!(parse("no-new-privileges:false").unwrap().no_new_privileges, Some(false));
        assert_eq!(parse("no-new-privileges=true").unwrap().no_new_privileges, Some(true));
        assert_eq!(parse("seccomp=unconfined").unwrap().seccomp, Seccomp::Unconfined);
        assert_eq!(parse("seccomp:unconfined").unwrap().seccomp, Seccomp::Unconfined);
        assert_eq!(parse("seccomp={\"a\":\"b=c\"}").unwrap().seccomp, Seccomp::Profile("{\"a\":\"b=c\"}".into()));
        assert!(parse("systempaths=unconfined").unwrap().system_paths_unconfined);
        assert_eq!(parse("apparmor=unconfined").unwrap(), Security::default());
        assert_eq!(parse("label=disable").unwrap(), Security::default());
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for option in
            ["", "x", "apparmor=docker-default", "label=type:x", "seccomp=", "no-new-privileges=maybe", "label"]
        {
            assert!(Security::parse(&[option.to_owned()]).is_err(), "{option}");
        }
    }
}
