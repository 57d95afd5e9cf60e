//! crun and runc: OCI runtimes, asked with `run` on a bundle.

use std::process::Command;

use anyhow::Result;

use super::{oci_bundle, on_path};
use crate::round::{Contender, Found};

/// `NAME run` of a bundle of the native hello; `name` is `crun`, `runc` or another drop-in.
pub fn run(name: &'static str) -> Result<Found> {
    let label = format!("{name} run (bundle only: no image, no logs)");
    let Some(program) = on_path(name) else {
        return Ok(Found::Missing { name: label, reason: format!("no `{name}` on the PATH") });
    };
    let bundle = oci_bundle::hello(&program)?;
    let folder = bundle.path().to_owned();
    let command = move |round: usize| {
        let mut command = Command::new(&program);
        command.arg("run").arg("--bundle").arg(&folder).arg(format!("bench-{}-{round}", std::process::id()));
        command
    };
    let trial = command(usize::MAX).output()?;
    if !trial.status.success() {
        let reason = String::from_utf8_lossy(&trial.stderr).trim().to_owned();
        return Ok(Found::Missing { name: label, reason });
    }
    Ok(Found::Ready(Contender { name: label, ours: false, command: Box::new(command), keep: Box::new(bundle) }))
}
