//! What a native container may not ask for, alone or together.

use proa_sandbox::Isolation;

use crate::error::{Error, Result};
use crate::network::Mode;
use crate::request::arguments;
use crate::spec::namespaces::{self, Whose};
use crate::spec::{capabilities, security, sysctls};
use crate::state::record::Record;

use super::ulimits;

pub(super) fn check(record: &mut Record, warnings: &mut Vec<String>) -> Result<()> {
    if arguments(&record.config).is_empty() {
        return Err(Error::Invalid("no command specified".to_owned()));
    }
    ulimits::check(&mut record.host_config, warnings)?;
    capabilities::chosen(&record.host_config)?;
    security::filter(record)?;
    sysctls::check(record)?;
    user_namespace(record)?;
    if record.host_config.init == Some(true) && namespaces::pid(record)? != Whose::Own {
        warnings.push("--init has no effect with --pid: the first process there is another's".to_owned());
    }
    for path in record.host_config.masked_paths.iter().chain(&record.host_config.readonly_paths).flatten() {
        if !path.starts_with('/') {
            return Err(Error::Invalid(format!("masked and read-only paths are absolute, which `{path}` is not")));
        }
    }
    Ok(())
}

/// What a container whose root is nobody outside cannot share with the node, in Docker's words.
fn user_namespace(record: &Record) -> Result<()> {
    let host = &record.host_config;
    let mode = host.userns_mode.as_deref().unwrap_or_default();
    if !["", "host", "private"].contains(&mode) {
        return Err(Error::Invalid("invalid USER mode: choose an isolation instead".to_owned()));
    }
    if record.isolation != Isolation::LinuxUserns {
        return Ok(());
    }
    if mode == "host" {
        return Err(Error::Invalid("--userns host is what isolation `linux` is: choose that one".to_owned()));
    }
    if host.privileged == Some(true) {
        return Err(Error::Invalid(
            "privileged mode is incompatible with user namespaces: choose isolation `linux`".to_owned(),
        ));
    }
    match namespaces::pid(record)? {
        Whose::Own => {}
        Whose::Node => {
            return Err(Error::Invalid(
                "cannot share the host PID namespace when user namespaces are enabled: choose isolation `linux`"
                    .to_owned(),
            ));
        }
        Whose::Of(_) => {
            return Err(Error::Invalid(
                "cannot share a container's PID namespace when user namespaces are enabled: choose isolation `linux`"
                    .to_owned(),
            ));
        }
    }
    let network = Mode::parse(host.network_mode.as_deref().unwrap_or_default())?;
    if network == Mode::Host && host.sysctls.as_ref().is_some_and(|all| all.keys().any(|name| name.starts_with("net.")))
    {
        return Err(Error::Invalid("sysctls of the network are the node's with --network host".to_owned()));
    }
    Ok(())
}
