//! What a specification may ask and this runtime does not have: refused by the field's name, since a guest that runs
//! without what was asked for it is worse than one that does not run. Annotations alone are passed over, as the
//! specification says.

use oci_spec::runtime::{Hooks, Linux, Process, Spec};

use super::Request;
use crate::error::{Error, Result};

/// A field as config.json calls it, and whether it asks for something.
type Field = (&'static str, bool);

fn check(fields: &[Field]) -> Result<()> {
    match fields.iter().find(|(_, asked)| *asked) {
        Some((name, _)) => Err(Error::Plan(format!("`{name}` is not supported yet"))),
        None => Ok(()),
    }
}

fn some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn text(value: &Option<String>) -> bool {
    value.as_ref().is_some_and(|value| !value.is_empty())
}

/// What concerns the container as a whole.
pub(super) fn container(spec: &Spec, linux: &Linux, request: &Request<'_>) -> Result<()> {
    if !spec.version().starts_with("1.") {
        let version = spec.version();
        return Err(Error::Plan(format!("version `{version}` of the runtime specification is not known here")));
    }
    check(&[
        ("solaris", spec.solaris().is_some()),
        ("windows", spec.windows().is_some()),
        ("vm", spec.vm().is_some()),
        ("zos", spec.zos().is_some()),
        ("uidMappings", some(spec.uid_mappings())),
        ("gidMappings", some(spec.gid_mappings())),
        ("linux.cgroupsPath", request.direct.is_none() && linux.cgroups_path().is_some()),
        ("linux.mountLabel", text(linux.mount_label())),
        ("linux.intelRdt", linux.intel_rdt().is_some()),
    ])?;
    if request.direct.is_none() {
        spec.hooks().as_ref().map_or(Ok(()), hooks)?;
    }
    Ok(())
}

/// What concerns one process, the first or a later one.
pub(super) fn process(process: &Process) -> Result<()> {
    check(&[
        ("process.commandLine", text(process.command_line())),
        ("process.user.username", text(process.user().username())),
    ])
}

fn hooks(hooks: &Hooks) -> Result<()> {
    check(&[
        // Deprecated, but still asked for.
        #[allow(deprecated, reason = "a deprecated field that is set is refused all the same")]
        ("hooks.prestart", some(hooks.prestart())),
        ("hooks.createRuntime", some(hooks.create_runtime())),
        ("hooks.createContainer", some(hooks.create_container())),
        ("hooks.startContainer", some(hooks.start_container())),
        ("hooks.poststart", some(hooks.poststart())),
        ("hooks.poststop", some(hooks.poststop())),
    ])
}
