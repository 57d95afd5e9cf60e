//! What happens between clone3 and execve: the plan's steps, executed one by one by the process that becomes the guest
//! (and by the helper before it).
//!
//! Nothing here allocates, locks or logs: every string was made beforehand, descriptors go into a table that is already
//! there. A step that fails ends the process after it has written its number and the errno to the zygote, which still
//! has the plan and makes the sentence.
//!
//! ```text
//! zygote                     helper                         child
//! socketpair, clone3 ------>
//!                            mounts that need more rights
//!                            clone3 (CLONE_PARENT) -------> waits for its ids
//!        <------------------ Cloned + pidfd
//!                            writes the id maps ----------->
//!                            ends                           mounts, pivots, drops rights
//!        <------------------------------------------------- Ready (+ terminal)
//! start  ------------------------------------------------->
//!        <------------------------------------------------- the socket closes by execve, or Failed
//! ```
//! Without a helper the zygote itself clones the child.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};
use rustix::process::Pid;

use crate::plan::Plan;
use crate::prepare;
use crate::step::{Action, Actor, Slot};
use crate::sys::{self, Clone, Cloned, Pointers};
use crate::zygote::{Entry, Second};

mod beneath;
mod borrow;
mod dev;
mod enter;
mod home;
mod hook;
mod identity;
mod keyring;
mod label;
mod listener;
mod mapper;
mod maps;
mod masks;
mod mounts;
mod netdevice;
mod old;
mod overlay;
mod program;
mod reaper;
pub(crate) mod report;
mod terminal;
mod text;
mod tmpfs;

pub(crate) use maps::write_maps;
use report::Report;

/// What a child finds when it is cloned.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) arguments: &'a Pointers,
    pub(crate) environment: &'a Pointers,
    /// By slot.
    pub(crate) table: Vec<Option<OwnedFd>>,
    /// The child's side of the socket to the zygote.
    pub(crate) talk: OwnedFd,
    /// The pipe by which the child learns that its ids are mapped: read and write end.
    pub(crate) maps: Option<(OwnedFd, OwnedFd)>,
    /// For the helper: whom it cloned.
    pub(crate) child: Option<Pid>,
    pub(crate) entries: &'static [Entry],
    /// The second half of an entry, between its steps.
    pub(crate) built: Option<Second>,
    /// How many descriptors [`Action::KeepDescriptors`] placed from 3 on.
    pub(crate) kept: usize,
    /// Other sandboxes' streams that the zygote keeps: their far ends must see them close.
    pub(crate) foreign: Vec<RawFd>,
}

impl Context<'_> {
    fn slot(&self, slot: Slot) -> Result<BorrowedFd<'_>> {
        self.table.get(usize::from(slot.0)).and_then(Option::as_ref).map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    fn close_foreign(&mut self) {
        for number in &mut self.foreign {
            sys::close_number(std::mem::replace(number, -1));
        }
    }

    fn put(&mut self, slot: Slot, fd: OwnedFd) -> Result<()> {
        *self.table.get_mut(usize::from(slot.0)).ok_or(Errno::BADF)? = Some(fd);
        Ok(())
    }
}

/// The helper's life: its steps, among them the clone of the child.
pub(crate) fn help(mut context: Context<'_>) -> ! {
    context.close_foreign();
    let plan = context.plan;
    for (at, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.actor == Actor::Helper) {
        let outcome = match &step.action {
            Action::Clone { namespaces, cgroup } => match clone_child(&mut context, *namespaces, *cgroup) {
                Ok(true) => become_guest(context),
                Ok(false) => Ok(()),
                Err(errno) => Err(errno),
            },
            Action::MapIds { uids, gids, deny_setgroups } => {
                mapped(&context, |child| write_maps(child, uids, gids, *deny_setgroups))
            }
            Action::MapIdsByPrograms { uids, gids } => mapped(&context, |child| mapper::map(child, uids, gids)),
            action => execute(&mut context, action),
        };
        if let Err(errno) = outcome {
            fail(&context, at, errno);
        }
    }
    sys::exit_now(0)
}

/// `true` in the child. In the helper, the child's pid is told.
fn clone_child(context: &mut Context<'_>, namespaces: u64, cgroup: Option<Slot>) -> Result<bool> {
    if context.plan.child_waits() {
        context.maps = Some(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?);
    }
    let cgroup = cgroup.map(|slot| context.slot(slot)).transpose()?;
    // The zygote is to be the parent, so that it sees the exit; the kernel's exit signal is the helper's, SIGCHLD.
    let flags = namespaces | libc::CLONE_PARENT as u64;
    match sys::clone3(Clone { flags, cgroup })? {
        Cloned::Child => Ok(true),
        Cloned::Parent { pid, pidfd } => {
            context.child = Some(pid);
            report::send(
                context.talk.as_fd(),
                &Report::Cloned { pid: pid.as_raw_nonzero().get() },
                Some(pidfd.as_fd()),
            )?;
            Ok(false)
        }
    }
}

/// Lets the child go on when `write` has mapped its ids.
fn mapped(context: &Context<'_>, write: impl FnOnce(Pid) -> Result<()>) -> Result<()> {
    write(context.child.ok_or(Errno::SRCH)?)?;
    let (_, go) = context.maps.as_ref().ok_or(Errno::BADF)?;
    rustix::io::write(go, b"m").map(drop)
}

/// The child's life; ends in execve, in an entry, or in a failure.
pub(crate) fn become_guest(mut context: Context<'_>) -> ! {
    context.close_foreign();
    let plan = context.plan;
    for (at, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.actor == Actor::Child) {
        if let Err(errno) = execute(&mut context, &step.action) {
            fail(&context, at, errno);
        }
    }
    // A plan ends in `execute` or `enter`, neither of which comes back with success.
    sys::exit_now(127)
}

fn fail(context: &Context<'_>, at: usize, errno: Errno) -> ! {
    let report = Report::Failed { step: at as u32 + 1, errno: errno.raw_os_error() };
    // Nobody is left to be told when the zygote is gone.
    let _ = report::send(context.talk.as_fd(), &report, None);
    sys::exit_now(127)
}

/// One step. The CVE or kernel version that shaped it stands in the module that does it.
fn execute(context: &mut Context<'_>, action: &Action) -> Result<()> {
    match action {
        Action::AttachCgroup { tasks } => rustix::io::write(context.slot(*tasks)?, b"0").map(drop),
        Action::Join { process, namespaces } => maps::join(context.slot(*process)?, *namespaces),
        Action::OwnMounts => mounts::own(),
        Action::TranslateOwners { mount, user_namespace, recursive } => {
            mounts::translate(context.slot(*mount)?, context.slot(*user_namespace)?, *recursive)
        }
        Action::Overlay { lower, scratch, place, into } => {
            let root = overlay::mount(context, lower, *scratch, *place)?;
            context.put(*into, root)
        }
        Action::MakeDev { options, attributes, nodes, owner, into } => {
            let dev = dev::make(options, *attributes, nodes, *owner)?;
            context.put(*into, dev)
        }
        Action::OomScore { value } => identity::oom_score(value),
        Action::AwaitMaps | Action::AwaitHelper => maps::wait(context),
        Action::BecomeRoot => identity::become_root(),
        Action::OwnCgroupView => sys::unshare(libc::CLONE_NEWCGROUP as u64),
        Action::AttachRoot { root } => mounts::attach_root(context.slot(*root)?),
        Action::Mount { kind, options, attributes, target, into } => {
            let mount = mounts::make(kind, options, *attributes)?;
            mounts::attach(mount.as_fd(), context.slot(target.base)?, target)?;
            into.map_or(Ok(()), |slot| context.put(slot, mount))
        }
        Action::Attach { mount, target } => {
            mounts::attach_source(context.slot(*mount)?, context.slot(target.base)?, target)
        }
        Action::MakeDirectory { root, path } => beneath::directory(context.slot(*root)?, path, false).map(drop),
        Action::Mask { root, path } => masks::mask(context.slot(*root)?, path),
        Action::ReadOnly { root, path } => masks::read_only(context.slot(*root)?, path),
        Action::Restrict { mount, attributes, .. } => mounts::restrict(context.slot(*mount)?, *attributes),
        Action::Sysctl { root, path, value } => masks::sysctl(context.slot(*root)?, path, value),
        Action::PivotRoot { root } => mounts::pivot(context.slot(*root)?),
        Action::EmptyRoot => mounts::empty_root(),
        Action::HostName { name } => rustix::system::sethostname(name.to_bytes()),
        Action::DomainName { name } => rustix::system::setdomainname(name.to_bytes()),
        Action::Loopback => sys::loopback_up(),
        Action::Session => rustix::process::setsid().map(drop),
        Action::Terminal { rows, columns, uid, gid, console } => {
            terminal::open(context, (*rows, *columns), (*uid, *gid), *console)
        }
        Action::Streams { stdin, stdout, stderr } => {
            rustix::stdio::dup2_stdin(context.slot(*stdin)?)?;
            rustix::stdio::dup2_stdout(context.slot(*stdout)?)?;
            rustix::stdio::dup2_stderr(context.slot(*stderr)?)
        }
        Action::Limit { resource, soft, hard } => identity::limit(*resource, *soft, *hard),
        Action::BoundCapabilities { keep } => identity::bound(*keep),
        Action::User { uid, gid, groups } => identity::user(*uid, *gid, groups),
        Action::Capabilities { effective, permitted, inheritable, ambient } => {
            identity::capabilities(*effective, *permitted, *inheritable, *ambient)
        }
        Action::Umask { mask } => {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(*mask));
            Ok(())
        }
        Action::NoNewPrivileges => rustix::thread::set_no_new_privs(true),
        Action::Filter { program, flags, listener: false } => sys::load_filter(program, *flags),
        Action::Filter { program, flags, listener: true } => listener::load(context, program, *flags),
        Action::WorkingDirectory { path } => program::working_directory(path),
        Action::SealDescriptors => sys::seal_descriptors(3),
        Action::AwaitStart => program::await_start(context),
        Action::Execute { candidates, .. } => Err(program::execute(context, candidates)),
        Action::EnterNamespace { namespace, kind } => maps::enter(context.slot(*namespace)?, *kind),
        Action::EnterWithUser { user, others } => maps::enter_with_user(context, *user, others),
        Action::OwnTime { offsets } => maps::own_time(offsets),
        Action::Affinity { cpus } => sys::run_on(cpus),
        Action::Label { module, label } => label::ask(*module, label),
        Action::SessionKeyring { name } => keyring::join(name),
        Action::Personality { domain } => sys::personality(*domain),
        Action::MemoryPolicy { mode, nodes } => sys::memory_policy(*mode, nodes),
        Action::Scheduler(scheduling) => sys::schedule(scheduling),
        Action::IoPriority { value } => sys::io_priority(*value),
        // Where the host has no right to copy mounts.
        Action::OpenRoot { .. } | Action::OpenSource { .. } | Action::OpenDevice { .. } => {
            let opened = prepare::open(action);
            let (slot, tree) = opened.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NODEV))?;
            context.put(slot, tree)
        }
        Action::AttachRootAt { root, path } => mounts::attach_root_at(context.slot(*root)?, path),
        Action::EnterRoot { root } => mounts::enter_root(context.slot(*root)?),
        Action::TakeNetDevice { name, new, network } => {
            let network = network.map(|slot| context.slot(slot)).transpose()?;
            netdevice::take(name, new, network, context.child)
        }
        Action::FindHome { uid } => home::find(context, *uid),
        Action::LetGo => mapped(context, |_| Ok(())),
        Action::StayAsInit => reaper::stay(),
        Action::AwaitHooks => program::await_hooks(context),
        Action::Hook { path, arguments, environment, timeout, state, .. } => {
            let state = context.slot(*state)?;
            hook::run(state, path, (arguments, environment), timeout.map(u64::from))
        }
        Action::FindProgram { candidates, .. } => program::find(candidates),
        Action::AwaitConnection { listener } => program::await_connection(context, *listener),
        Action::SealFrom { first } => sys::seal_descriptors(i32::try_from(*first).map_err(|_| Errno::INVAL)?),
        Action::BorrowMount { namespace, path, into } => {
            let mount = borrow::mount(context.slot(*namespace)?, path)?;
            context.put(*into, mount)
        }
        Action::PrivateMounts => mounts::private(),
        Action::MountTmpfs { options, attributes, copy_up, target } => {
            tmpfs::mount(options, *attributes, *copy_up, context.slot(target.base)?, target)
        }
        Action::MountByName { kind, source, flags, data, target } => {
            old::mount((kind, source), (*flags, data), context.slot(target.base)?, target)
        }
        Action::Change { target, change } => {
            mounts::change(mounts::mounted(context.slot(target.base)?, target)?.as_fd(), *change)
        }
        Action::Remount { target, change } => old::remount_at(context.slot(target.base)?, target, *change),
        Action::Reconfigure { target, options } => mounts::reconfigure(context.slot(target.base)?, target, options),
        Action::MakeNodes { root, folder, nodes } => dev::place(context.slot(*root)?, folder, nodes),
        Action::ReadOnlyByRemount { root, path } => masks::read_only_by_remount(context.slot(*root)?, path),
        Action::Spread { mount, change } => mounts::change(context.slot(*mount)?, *change),
        Action::ChangeRoot { root } => mounts::change_root(context.slot(*root)?),
        Action::KeepDescriptors { keep } => enter::keep(context, keep),
        Action::Build { entry } => enter::build(context, entry),
        Action::Enter { .. } => enter::enter(context),
        // The host's and the zygote's.
        Action::OpenLayer { .. }
        | Action::OpenScratch { .. }
        | Action::CreateCgroup { .. }
        | Action::FilterDevices { .. }
        | Action::DelegateCgroup { .. }
        | Action::OpenCgroup { .. }
        | Action::OpenFurtherCgroup { .. }
        | Action::OpenNamespace { .. }
        | Action::OpenOomEvents { .. }
        | Action::KeepUserNamespace { .. }
        | Action::Fork { .. }
        | Action::Clone { .. }
        | Action::MapIds { .. }
        | Action::MapIdsByPrograms { .. } => Err(Errno::INVAL),
    }
}
