//! Making a container's process, as `create` and `run` do it: claim the id, lower the bundle, prepare, clone, and answer the
//! child until it waits to be started. What was made is unmade when a step fails.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use proa_linux::cgroup;
use proa_linux::{Facts, HookKind, Plan, Prepared, Sandbox, Slot, Streams, Told, listener};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, memfd_create, openat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Signal, pidfd_send_signal};

use super::agent;
use super::arguments::{Create, Global};
use super::bundle::{self, Bundle, Manner};
use super::console::Console;
use super::container::{self, Container, Identity, START};
use super::delete;
use super::failure;
use super::group::Group;
use super::hooks;
use super::sockets;

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
    check_preserved(preserved(options))?;
    let folder = container::claim(global, &options.id)?;
    let facts = Facts::assumed();
    let making = Making { global, options, console, bundle: &bundle, folder: &folder, facts: &facts, detached };
    match making.attempt() {
        Ok((container, sandbox, terminal)) => Ok(Made { container, sandbox, facts, bundle, terminal }),
        Err(error) => {
            // The first error is the one to tell.
            drop(fs::remove_dir_all(&folder));
            Err(error)
        }
    }
}

/// A container in the making.
#[derive(Debug, Clone, Copy)]
struct Making<'a> {
    global: &'a Global,
    options: &'a Create,
    console: &'a Console,
    bundle: &'a Bundle,
    folder: &'a Path,
    facts: &'a Facts,
    detached: bool,
}

type Parts = (Container, Sandbox, Option<OwnedFd>);

impl Making<'_> {
    fn attempt(&self) -> Result<Parts> {
        let layout = &self.facts.cgroups;
        let (group, scope) = Group::claim(&self.bundle.spec, &self.options.id, self.global.systemd_cgroup, layout)?;
        let made = self.in_group(&group);
        // It lives from what stands in it by now.
        drop(scope);
        if made.is_err() {
            cgroup::kill_all(layout, &group.path);
            drop(delete::release(&group, &self.options.id, self.facts));
        }
        made
    }

    fn in_group(&self, group: &Group) -> Result<Parts> {
        let plan = self.plan(group)?;
        failure::warn(self.global, &self.bundle.warnings);
        failure::warn(self.global, &plan.warnings);
        let (mut sandbox, states) = launch(plan, self.folder)?;
        let container = Container { folder: self.folder.to_owned(), identity: self.identify(group.clone(), &sandbox)? };
        match self.answer(&container, &mut sandbox, states) {
            Ok(terminal) => Ok((container, sandbox, terminal)),
            Err(error) => {
                // Gone already is as good as killed.
                let _ = pidfd_send_signal(sandbox.pidfd(), Signal::KILL);
                hooks::poststop(&container, &self.bundle.spec);
                Err(error)
            }
        }
    }

    fn plan(&self, group: &Group) -> Result<Plan> {
        let keyring = keyring(self.options);
        let manner = Manner {
            group: &group.path,
            detached: self.detached,
            preserve: preserved(self.options),
            keyring: keyring.as_deref(),
            no_pivot: self.options.no_pivot,
        };
        let (spec, sockets) = (&self.bundle.spec, sockets::count());
        let announced = (sockets > 0).then(|| sockets::announce(spec, sockets));
        bundle::lower(announced.as_ref().unwrap_or(spec), &self.bundle.root()?, manner, self.facts)
    }

    fn identify(&self, group: Group, sandbox: &Sandbox) -> Result<Identity> {
        let pid = sandbox.pid().as_raw_nonzero().get();
        let (start_time, _) = container::started(pid).context("look at the new process")?;
        let spec = &self.bundle.spec;
        Ok(Identity {
            oci_version: spec.version().clone(),
            id: self.options.id.clone(),
            pid,
            start_time,
            bundle: self.bundle.folder.clone(),
            rootfs: self.bundle.root()?,
            created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            owner: container::owner(),
            annotations: spec.annotations().clone().unwrap_or_default(),
            group,
            user_namespace: bundle::has_user_namespace(spec),
            keyring: keyring(self.options),
        })
    }

    /// Answers the child until it waits to be started; gives its terminal where that is ours to serve.
    fn answer(&self, container: &Container, sandbox: &mut Sandbox, mut states: States) -> Result<Option<OwnedFd>> {
        container.save(&self.bundle.text)?;
        tell_states(container, &mut states)?;
        let mut terminal = None;
        loop {
            match sandbox.hear()? {
                Told::Hooks => {
                    hooks::before_root(container, &self.bundle.spec)?;
                    sandbox.go_on()?;
                }
                Told::Listener(listener) => {
                    agent::inform(container, &self.bundle.spec, "creating", sandbox, listener)?;
                }
                Told::Terminal(master) => terminal = self.console.take(master)?,
                Told::Ready => break,
                Told::Executed => bail!("the container's process ended before it was ready"),
            }
        }
        if let Some(path) = &self.options.pid_file {
            write_pid(path, container.identity.pid)?;
        }
        Ok(terminal)
    }
}

/// As other runtimes call it; tools look for the name.
fn keyring(options: &Create) -> Option<String> {
    (!options.no_new_keyring).then(|| format!("_ses.{}", options.id))
}

/// The files from which hooks in the container learn its state, by who reads them.
type States = Vec<(HookKind, File)>;

fn launch(plan: Plan, folder: &Path) -> Result<(Sandbox, States)> {
    let mut prepared = Prepared::new(&plan)?;
    add_streams(&plan, &mut prepared)?;
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

/// The caller's own streams, unless it gets a terminal: it would keep them open, and callers wait for their end.
pub(super) fn add_streams(plan: &Plan, prepared: &mut Prepared) -> Result<()> {
    if plan.streams == Streams::Terminal {
        return Ok(());
    }
    prepared.add(Slot(0), fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).context("take standard input")?);
    prepared.add(Slot(1), fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).context("take standard output")?);
    prepared.add(Slot(2), fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).context("take standard error")?);
    Ok(())
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

/// How many descriptors from 3 on the program keeps.
fn preserved(options: &Create) -> u16 {
    options.preserve_fds.saturating_add(sockets::count())
}

/// Descriptors that are to be kept must be there: in a gap something of ours would be kept instead.
pub(super) fn check_preserved(count: u16) -> Result<()> {
    for number in 3..3 + i32::from(count) {
        if fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
            bail!("descriptor {number} of the {count} that are to be kept is not open");
        }
    }
    Ok(())
}
