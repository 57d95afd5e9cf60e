//! The command line: one verb, one file; what they share stands beside them.

use std::process::ExitCode;

use anyhow::Result;

mod agent;
mod arguments;
mod bundle;
mod console;
mod container;
mod create;
mod creation;
mod delete;
mod events;
mod exec;
mod failure;
mod features;
mod foreground;
mod group;
mod hooks;
mod kill;
mod list;
mod pause;
mod plan;
mod program;
mod ps;
mod resources;
mod run;
mod signal;
mod sockets;
mod spec;
mod start;
mod state;
mod update;

use arguments::{Arguments, Global, Verb};

pub(crate) fn main() -> ExitCode {
    // Before anything is read: what runs from here on cannot be written through /proc/PID/exe.
    if let Err(error) = program::protect() {
        eprintln!("proa-linux: execute itself from a read-only mount: {error}");
        return ExitCode::FAILURE;
    }
    let Arguments { global, verb } = Arguments::typed();
    // What runc exits with: an exec that fails is not taken for its program's 1.
    let failed = if matches!(verb, Verb::Exec(_)) { 255 } else { 1 };
    match execute(&global, verb) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            failure::report(&global, &error);
            ExitCode::from(failed)
        }
    }
}

fn execute(global: &Global, verb: Verb) -> Result<u8> {
    let done = match verb {
        Verb::Create(options) => create::create(global, &options),
        Verb::Start(named) => start::start(global, &named.id),
        Verb::Run(options) => return run::run(global, &options),
        Verb::State(named) => state::state(global, &named.id),
        Verb::List { format, quiet } => list::list(global, &format, quiet),
        Verb::Ps { format, id, options } => return ps::ps(global, &format, &id, &options),
        Verb::Exec(options) => return exec::exec(global, &options),
        Verb::Kill(kill) => kill::kill(global, &kill.id, &kill.signal, kill.all),
        Verb::Delete(delete) => delete::delete(global, &delete.id, delete.force),
        Verb::Pause { id } => pause::pause(global, &id),
        Verb::Resume { id } => pause::resume(global, &id),
        Verb::Update(options) => update::update(global, &options),
        Verb::Events { interval, stats, id } => events::events(global, &id, interval.into(), stats),
        Verb::Spec { bundle, rootless } => spec::spec(&bundle, rootless),
        Verb::Features => features::features(),
        Verb::Plan { bundle } => plan::plan(&bundle),
    };
    done.map(|()| 0)
}
