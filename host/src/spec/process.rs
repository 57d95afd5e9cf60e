//! The process of a container or of one more program in it.

use bollard_stubs::models::{ContainerConfig, ExecConfig, HostConfig};
use oci_spec::runtime::{
    BoxBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder, UserBuilder,
};

use crate::error::{Error, Result};
use crate::request::{arguments, merge_entries};
use crate::spec::{built, capabilities, clean, hostname, security};
use crate::state::record::{Record, User};

/// The PATH of an image that sets none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container's first process.
pub fn process(record: &Record) -> Result<Process> {
    let (config, host) = (&record.config, &record.host_config);
    let tty = config.tty.unwrap_or(false);
    let mut builder = base(record, &record.user, tty, host)?
        .args(arguments(config))
        .env(environment(record, tty))
        .cwd(clean("/", config.working_dir.as_deref().unwrap_or_default()))
        .rlimits(rlimits(host)?);
    if let Some(size) = console(host.console_size.as_deref())? {
        builder = builder.console_size(size);
    }
    if let Some(score) = host.oom_score_adj.filter(|score| *score != 0) {
        let score = i32::try_from(score).ok().filter(|score| (-1000..=1000).contains(score));
        let score = score.ok_or_else(|| {
            let given = host.oom_score_adj.unwrap_or(0);
            Error::Invalid(format!("Invalid value {given}, range for oom score adj is [-1000, 1000]"))
        })?;
        builder = builder.oom_score_adj(score);
    }
    built(builder.build())
}

/// One more process, as `exec` asks for it.
pub fn exec(record: &Record, exec: &ExecConfig, user: &User) -> Result<Process> {
    let tty = exec.tty.unwrap_or(false);
    let cwd = exec.working_dir.as_deref().filter(|dir| !dir.is_empty()).or(record.config.working_dir.as_deref());
    let env = merge_entries(environment(record, tty), exec.env.as_deref().unwrap_or_default());
    let mut builder = base(record, user, tty, &record.host_config)?
        .args(exec.cmd.clone().unwrap_or_default())
        .env(env)
        .cwd(clean("/", cwd.unwrap_or_default()))
        .rlimits(rlimits(&record.host_config)?);
    if let Some(size) = console(exec.console_size.as_deref())? {
        builder = builder.console_size(size);
    }
    built(builder.build())
}

fn base(record: &Record, user: &User, tty: bool, host: &HostConfig) -> Result<ProcessBuilder> {
    let who = UserBuilder::default().uid(user.uid).gid(user.gid).additional_gids(user.groups.clone()).build();
    Ok(ProcessBuilder::default()
        .terminal(tty)
        .user(built(who)?)
        .capabilities(capabilities::sets(user.uid, host)?)
        .no_new_privileges(security::of(record)?.no_new_privileges.unwrap_or(true)))
}

/// Docker's order: its own defaults first, then what image and request set.
fn environment(record: &Record, tty: bool) -> Vec<String> {
    let config: &ContainerConfig = &record.config;
    let own = config.env.as_deref().unwrap_or_default();
    // A Wasm guest is given what it was given, no more: there is no PATH to search and no home.
    if record.isolation.is_wasm() {
        return merge_entries(Vec::new(), own);
    }
    let mut defaults = vec![PATH.to_owned(), format!("HOSTNAME={}", hostname(record))];
    if tty {
        defaults.push("TERM=xterm".to_owned());
    }
    defaults.push(format!("HOME={}", record.user.home.as_deref().unwrap_or("/")));
    merge_entries(defaults, own)
}

fn console(size: Option<&[usize]>) -> Result<Option<oci_spec::runtime::Box>> {
    match size {
        Some([rows, columns]) if *rows > 0 && *columns > 0 => {
            built(BoxBuilder::default().height(*rows as u64).width(*columns as u64).build()).map(Some)
        }
        _ => Ok(None),
    }
}

fn rlimits(host: &HostConfig) -> Result<Vec<PosixRlimit>> {
    let limits = host.ulimits.iter().flatten().map(|limit| {
        let name = limit.name.clone().unwrap_or_default();
        let typ: PosixRlimitType = format!("RLIMIT_{}", name.to_ascii_uppercase())
            .parse()
            .map_err(|_| Error::Invalid(format!("invalid ulimit type: {name}")))?;
        // -1 is RLIM_INFINITY, which the kernel writes as all ones.
        let soft = limit.soft.unwrap_or(0).cast_unsigned();
        let hard = limit.hard.unwrap_or(0).cast_unsigned();
        if soft > hard {
            return Err(Error::Invalid(format!("ulimit soft limit must be less than or equal to hard limit: {name}")));
        }
        built(PosixRlimitBuilder::default().typ(typ).soft(soft).hard(hard).build())
    });
    limits.collect()
}
