//! `exec`: one more process in a container.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{Capability, Process, Spec, User};
use proa_linux::{Direct, Facts, Join, Plan, Prepared, Sandbox, Streams, Told, cgroup, read_process};
use rustix::process::{Signal, pidfd_send_signal};

use super::agent;
use super::arguments::{Exec, Global};
use super::console::Console;
use super::container::{Container, Status};
use super::creation;
use super::failure;
use super::foreground::Foreground;

pub(super) fn exec(global: &Global, options: &Exec) -> Result<u8> {
    let container = Container::load(global, &options.id)?;
    let facts = Facts::assumed();
    match container.status(&facts.cgroups) {
        Status::Stopped => bail!("cannot exec in a stopped container"),
        Status::Paused if !options.ignore_paused => bail!("cannot exec in a paused container (use --ignore-paused)"),
        _ => {}
    }
    let spec = container.spec()?;
    let process = process(global, options, &spec)?;
    let terminal = process.terminal().unwrap_or(false);
    let console = Console::new(options.console_socket.as_deref(), !options.detach);
    console.suits(terminal)?;
    creation::check_preserved(options.preserve_fds)?;
    let foreground = (!options.detach).then(Foreground::new).transpose()?;
    let plan = lower(&container, &spec, &process, options, &facts)?;
    failure::warn(global, &plan.warnings);
    let mut sandbox = launch(&container, plan)?;
    let master = begin((&container, &spec), &mut sandbox, &console, options.pid_file.as_deref()).inspect_err(|_| {
        // Gone already is as good as killed.
        let _ = pidfd_send_signal(sandbox.pidfd(), Signal::KILL);
    })?;
    match foreground {
        Some(foreground) => foreground.wait(sandbox.pid(), sandbox.pidfd(), master.as_ref()),
        None => Ok(0),
    }
}

fn lower(container: &Container, spec: &Spec, process: &Process, options: &Exec, facts: &Facts) -> Result<Plan> {
    let group = match &options.cgroup {
        None => cgroup::group_beside(&facts.cgroups, &container.identity.group.path, container.identity.pid),
        Some(below) if below.split('/').any(|name| name == "..") => {
            bail!("--cgroup `{below}` leads out of the container's")
        }
        Some(below) => format!("{}/{}", container.identity.group.path, below.trim_matches('/')),
    };
    let join = Join {
        seccomp: spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()),
        default_filter: false,
        streams: if process.terminal().unwrap_or(false) { Streams::Terminal } else { Streams::Inherited },
        group: &group,
        in_user: container.identity.user_namespace,
        linux: spec.linux().as_ref(),
        keyring: container.identity.keyring.as_deref(),
        direct: Some(Direct { detached: false, preserve: options.preserve_fds, no_pivot: false }),
    };
    Ok(Plan::join(process, &join, facts)?)
}

fn launch(container: &Container, plan: Plan) -> Result<Sandbox> {
    let mut prepared = Prepared::new(&plan)?;
    creation::add_streams(&plan, &mut prepared)?;
    let process = container.process().context("cannot exec in a stopped container")?;
    let slot = plan.joins.context("the plan joins nothing")?;
    prepared.add(slot, process);
    Ok(Sandbox::create(plan, prepared)?)
}

/// Answers the child until it is its program; gives the terminal's master, where it is ours to serve.
fn begin(
    (container, spec): (&Container, &Spec),
    sandbox: &mut Sandbox,
    console: &Console,
    pid_file: Option<&Path>,
) -> Result<Option<std::os::fd::OwnedFd>> {
    let mut terminal = None;
    loop {
        match sandbox.hear()? {
            Told::Listener(listener) => agent::inform(container, spec, "running", sandbox, listener)?,
            Told::Terminal(master) => terminal = console.take(master)?,
            Told::Ready => {
                if let Some(path) = pid_file {
                    creation::write_pid(path, sandbox.pid().as_raw_nonzero().get())?;
                }
                sandbox.go_on()?;
            }
            Told::Executed => return Ok(terminal),
            Told::Hooks => bail!("a process that joins has no hooks"),
        }
    }
}

/// What is to run: a document's process, or the container's own with what the flags change.
fn process(global: &Global, options: &Exec, spec: &Spec) -> Result<Process> {
    if let Some(path) = &options.process {
        let what = || format!("read the process from `{}`", path.display());
        let text = fs::read(path).with_context(what)?;
        let (process, warnings) = read_process(&text).with_context(what)?;
        failure::warn(global, &warnings);
        return Ok(process);
    }
    if options.command.is_empty() {
        bail!("exec needs a command, or --process");
    }
    let mut process = spec.process().clone().context("config.json has no `process`")?;
    process.set_args(Some(options.command.clone()));
    process.set_terminal(Some(options.tty));
    let mut environment = process.env().clone().unwrap_or_default();
    environment.extend(options.env.iter().cloned());
    process.set_env(Some(environment));
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.clone());
    }
    if let Some(user) = user(options, process.user())? {
        process.set_user(user);
    }
    if options.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(profile) = &options.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &options.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    add_capabilities(&mut process, &options.cap)?;
    Ok(process)
}

fn user(options: &Exec, before: &User) -> Result<Option<User>> {
    if options.user.is_none() && options.additional_gids.is_empty() {
        return Ok(None);
    }
    let mut user = before.clone();
    if let Some(text) = &options.user {
        let (uid, gid) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str| text.parse().with_context(|| format!("--user `{text}`: a number is wanted"));
        user.set_uid(number(uid)?);
        if !gid.is_empty() {
            user.set_gid(number(gid)?);
        }
    }
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    groups.extend(&options.additional_gids);
    user.set_additional_gids(Some(groups));
    Ok(Some(user))
}

/// Into the four sets that count at once; never into the inheritable one (CVE-2022-29162).
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut added = Vec::new();
    for name in names {
        let plain = name.to_ascii_uppercase();
        let plain = plain.strip_prefix("CAP_").unwrap_or(&plain).to_owned();
        let known: Capability = plain.parse().map_err(|_| anyhow::anyhow!("--cap `{name}`: no such capability"))?;
        added.push(known);
    }
    let mut sets = process.capabilities().clone().unwrap_or_default();
    let with = |set: &Option<oci_spec::runtime::Capabilities>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(added.iter().copied());
        Some(set)
    };
    let (bounding, effective, permitted) = (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
    sets.set_bounding(bounding);
    sets.set_effective(effective);
    sets.set_permitted(permitted);
    process.set_capabilities(Some(sets));
    Ok(())
}
