//! What a request may not ask for, in one sentence each, before anything is made. Silence about an option means that
//! it is honoured or has no meaning under any engine. What is only ignored is told as a warning, in Docker's words
//! where it has some.

use std::path::Path;

use proa_sandbox::Offers;

use crate::error::{Error, Result};
use crate::healing::health::{Check, Probe};
use crate::healing::restart;
use crate::network::Mode;
use crate::request::arguments;
use crate::spec;
use crate::spec::namespaces::Joined;
use crate::state::record::Record;
use crate::{logging, ports};

mod defaults;
mod limits;
mod mounts;
mod names;
mod native;
mod ulimits;
mod unsupported;
mod wasm;

pub use limits::check as check_limits;

/// Refuses what cannot be honoured, fills in what dockerd would have filled in, and returns warnings for what is
/// ignored.
pub fn check(record: &mut Record, offers: &Offers) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    unsupported::check(&record.host_config)?;
    Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default())?;
    restart::check(&record.host_config)?;
    logging::limits(&record.host_config)?;
    check_health(record)?;
    names::check(record)?;
    limits::check(&mut record.host_config, offers, &mut warnings)?;
    check_ports(record, &mut warnings)?;
    mounts::check(record)?;
    if record.isolation.is_wasm() {
        wasm::check(record, &mut warnings)?;
    } else {
        native::check(record, &mut warnings)?;
    }
    if arguments(&record.config).iter().any(|argument| argument.contains('\0')) {
        return Err(Error::Invalid("an argument contains a zero byte".to_owned()));
    }
    defaults::fill(record)?;
    // Whatever the specification cannot express fails here rather than at the start.
    spec::workload(record, Path::new("/"), Joined::SUPPOSED)?;
    Ok(warnings)
}

fn check_health(record: &Record) -> Result<()> {
    let check = Check::read(record.config.healthcheck.as_ref())?;
    if check.is_some_and(|check| matches!(check.probe, Probe::Http(_))) && !record.is_http() {
        let sentence = "an HTTP health check asks the handler of a Wasm HTTP component, and this container is none";
        return Err(Error::Invalid(sentence.to_owned()));
    }
    Ok(())
}

fn check_ports(record: &Record, warnings: &mut Vec<String>) -> Result<()> {
    let wanted = ports::wanted(&record.host_config)?;
    match (record.is_http(), wanted.is_empty()) {
        (true, true) => warnings.push(
            "this is an HTTP component and no port is published, so nobody reaches it: add `-p 8080:80`".to_owned(),
        ),
        (false, false) if record.isolation.is_wasm() => {
            return Err(Error::Invalid(
                "ports can be published for a Wasm HTTP component only, and this module is none".to_owned(),
            ));
        }
        (false, false) => {
            return Err(Error::Invalid(
                "ports cannot be published for a native container yet: use --network host".to_owned(),
            ));
        }
        _ => {}
    }
    Ok(())
}
