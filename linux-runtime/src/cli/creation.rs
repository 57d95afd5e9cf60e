//! Making a container's process, as `create` and `run` do it: claim the id, lower the bundle, prepare, clone, and answer the
//! child until it waits to be started. What was made is unmade when a step fails.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use proa_linux::cgroup;
use proa_linux::{Facts, HookKind, Plan, Prepared, Sandbox, Slot, Told, listener};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, memfd_create, openat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Signal, pidfd_send_signal};

use super::arguments::{Create, Global};
use super::bundle::{self, Bundle, Manner};
use super::console::Console;
use super::container::{self, Container, Identity, START};
use super::delete;
use super::group::Group;
use super::hooks;

/// A container whose process waits to be started.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) container: Container,
    pub(super) sandbox: Sandbox,
    pub(super) facts: Facts,
    pub(super) bundle: Bundle,
    /// The terminal's master, where nobody else was given it.
    pub(super) terminal: Option<OwnedFd>,
}

/// Makes it. `detached`: another process will start it.
pub(super) fn make(global: &Global, options: &Create, console: &Console, detached: bool) -> Result<Made> {
    let bundle = Bundle::load(&options.bundle)?;
    console.suits(bundle::wants_terminal(&bundle.spec))?;
    check_preserved(options.preserve_fds)?;
    let folder = container::claim(global, &options.id)?;
    let facts = Facts::assumed();
    let made = attempt(options, bundle, &folder, &facts, console, (detached, global.systemd_cgroup));
    if made.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_dir_all(&folder));
    }
    made.map(|(container, sandbox, bundle, terminal)| Made { container, sandbox, facts, bundle, terminal })
}

type Parts = (Container, Sandbox, Bundle, Option<OwnedFd>);

fn attempt(
    options: &Create,
    bundle: Bundle,
    folder: &Path,
    facts: &Facts,
    console: &Console,
    (detached, by_systemd): (bool, bool),
) -> Result<Parts> {
    let root = bundle.root()?;
    let (group, scope) = Group::claim(&bundle.spec, &options.id, by_systemd, &facts.cgroups)?;
    let keyring = keyring(options);
    let keyring = keyring.as_deref();
    let manner = Manner { group: &group.path, detached, preserve: options.preserve_fds, keyring };
    let plan = bundle::lower(&bundle.spec, &root, manner, facts);
    let made = plan.and_then(|plan| launch(plan, folder)).and_then(|(sandbox, states)| {
        let container =
            Container { folder: folder.to_owned(), identity: identify(options, &bundle, group.clone(), &sandbox)? };
        let answered = container
            .save(&bundle.text)
            .and_then(|()| answer(&container, sandbox, &bundle, states, console, options.pid_file.as_deref()));
        let (sandbox, terminal) = answered.inspect_err(|_| hooks::poststop(&container, &bundle.spec))?;
        Ok((container, sandbox, bundle, terminal))
    });
    // It lives from what stands in it by now.
    drop(scope);
    if made.is_err() {
        cgroup::kill_all(&facts.cgroups, &group.path);
        drop(delete::release(&group, &options.id, facts));
    }
    made
}

/// As other runtimes call it; tools look for the name.
fn keyring(options: &Create) -> Option<String> {
    (!options.no_new_keyring).then(|| format!("_ses.{}", options.id))
}

/// The files from which hooks in the container learn its state, by who reads them.
type States = Vec<(HookKind, File)>;

fn launch(plan: Plan, folder: &Path) -> Result<(Sandbox, States)> {
    let mut prepared = Prepared::new(&plan)?;
    add_streams(&mut prepared)?;
    if let Some(slot) = plan.listener() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(CWD, folder, flags, Mode::empty()).context("open the container's folder")?;
        prepared.add(slot, listener(handle.as_fd(), START).context("listen for the start")?);
    }
    let mut states = States::new();
    for (kind, slot) in plan.states() {
        let state = memfd_create(c"state", MemfdFlags::CLOEXEC).context("make a file for the state")?;
        prepared.add(slot, fcntl_dupfd_cloexec(&state, 3)?);
        states.push((kind, File::from(state)));
    }
    Ok((Sandbox::create(plan, prepared)?, states))
}

/// The caller's own streams.
pub(super) fn add_streams(prepared: &mut Prepared) -> Result<()> {
    prepared.add(Slot(0), fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).context("take standard input")?);
    prepared.add(Slot(1), fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).context("take standard output")?);
    prepared.add(Slot(2), fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).context("take standard error")?);
    Ok(())
}

fn identify(options: &Create, bundle: &Bundle, group: Group, sandbox: &Sandbox) -> Result<Identity> {
    let pid = sandbox.pid().as_raw_nonzero().get();
    let (start_time, _) = container::started(pid).context("look at the new process")?;
    Ok(Identity {
        oci_version: bundle.spec.version().clone(),
        id: options.id.clone(),
        pid,
        start_time,
        bundle: bundle.folder.clone(),
        rootfs: bundle.root()?,
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        owner: container::owner(),
        annotations: bundle.spec.annotations().clone().unwrap_or_default(),
        group,
        user_namespace: bundle::has_user_namespace(&bundle.spec),
        keyring: keyring(options),
    })
}

/// Answers the child until it waits to be started; ends it when that fails.
fn answer(
    container: &Container,
    mut sandbox: Sandbox,
    bundle: &Bundle,
    mut states: States,
    console: &Console,
    pid_file: Option<&Path>,
) -> Result<(Sandbox, Option<OwnedFd>)> {
    let outcome = (|| {
        tell_states(container, &mut states)?;
        let mut terminal = None;
        loop {
            match sandbox.hear()? {
                Told::Hooks => {
                    hooks::before_root(container, &bundle.spec)?;
                    sandbox.go_on()?;
                }
                Told::Terminal(master) => terminal = console.take(master)?,
                Told::Ready => break,
                Told::Executed => bail!("the container's process ended before it was ready"),
            }
        }
        if let Some(path) = pid_file {
            write_pid(path, container.identity.pid)?;
        }
        Ok(terminal)
    })();
    match outcome {
        Ok(terminal) => Ok((sandbox, terminal)),
        Err(error) => {
            // Gone already is as good as killed.
            let _ = pidfd_send_signal(sandbox.pidfd(), Signal::KILL);
            Err(error)
        }
    }
}

fn tell_states(container: &Container, states: &mut States) -> Result<()> {
    for (kind, file) in states {
        let status = match kind {
            HookKind::CreateContainer => "creating",
            HookKind::StartContainer => "created",
        };
        let text = container.state(status).to_string();
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).context("write the state for hooks")?;
    }
    Ok(())
}

/// Writes the pid so that nobody reads half of it.
pub(super) fn write_pid(path: &Path, pid: i32) -> Result<()> {
    let mut name = path.file_name().context("a pid file has a name")?.to_os_string();
    name.push(".new");
    let aside = path.with_file_name(name);
    fs::write(&aside, pid.to_string())
        .and_then(|()| fs::rename(&aside, path))
        .with_context(|| format!("write `{}`", path.display()))
}

/// Descriptors that are to be kept must be there: in a gap something of ours would be kept instead.
pub(super) fn check_preserved(count: u16) -> Result<()> {
    for number in 3..3 + i32::from(count) {
        if fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
            bail!("--preserve-fds {count}: descriptor {number} is not open");
        }
    }
    Ok(())
}
