//! Hooks in the runtime's own namespaces (config.md, "POSIX-platform Hooks"); those inside the container are steps of its
//! plan. Each gets the container's state as its standard input.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{Hook, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::container::Container;

/// prestart and createRuntime: the namespaces stand, the root is not entered yet.
pub(super) fn before_root(container: &Container, spec: &Spec) -> Result<()> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    #[allow(deprecated, reason = "engines still ask for prestart")]
    run_all("prestart", hooks.prestart(), container, "creating")?;
    run_all("createRuntime", hooks.create_runtime(), container, "creating")
}

/// poststart: the program runs.
pub(super) fn poststart(container: &Container, spec: &Spec) -> Result<()> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    run_all("poststart", hooks.poststart(), container, "running")
}

/// poststop: the container is gone. One that fails is told and the others run all the same.
pub(super) fn poststop(container: &Container, spec: &Spec) {
    let Some(hooks) = spec.hooks() else { return };
    for hook in hooks.poststop().iter().flatten() {
        if let Err(error) = run("poststop", hook, container, "stopped") {
            eprintln!("proa-linux: warning: {error:#}");
        }
    }
}

fn run_all(kind: &str, hooks: &Option<Vec<Hook>>, container: &Container, status: &str) -> Result<()> {
    hooks.iter().flatten().try_for_each(|hook| run(kind, hook, container, status))
}

fn run(kind: &str, hook: &Hook, container: &Container, status: &str) -> Result<()> {
    let path = hook.path();
    let what = || format!("{kind} hook `{}`", path.display());
    if !path.is_absolute() {
        bail!("{}: its path is not absolute", what());
    }
    let mut command = Command::new(path);
    let mut arguments = hook.args().iter().flatten();
    command.arg0(arguments.next().map_or_else(|| path.as_os_str(), |name| name.as_ref()));
    command.args(arguments).env_clear().stdin(Stdio::piped());
    for variable in hook.env().iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        command.env(name, value);
    }
    let mut child = command.spawn().with_context(what)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read it.
        drop(stdin.write_all(container.state(status).to_string().as_bytes()));
    }
    if !ends_within(child.id(), hook.timeout())? {
        child.kill().with_context(what)?;
        child.wait().with_context(what)?;
        bail!("{}: it took longer than its timeout and was killed", what());
    }
    let ended = child.wait().with_context(what)?;
    if !ended.success() {
        bail!("{} failed: {ended}", what());
    }
    Ok(())
}

fn ends_within(pid: u32, timeout: Option<i64>) -> Result<bool> {
    let Some(seconds) = timeout else { return Ok(true) };
    let seconds =
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).context("a hook's timeout is not positive")?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a hook has no pid")?;
    let process = pidfd_open(pid, PidfdFlags::empty()).context("hold a hook")?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let left =
            Timespec::try_from(deadline.saturating_duration_since(Instant::now())).context("a hook's timeout")?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for a hook"),
        }
    }
}
