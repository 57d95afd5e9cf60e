//! `run`: one container from its creation to its end, or to its start with `--detach`.

use anyhow::{Result, bail};
use proa_linux::Told;
use rustix::process::{getpid, set_child_subreaper};

use super::arguments::{Global, Run};
use super::console::Console;
use super::creation::{self, Made};
use super::delete;
use super::foreground::Foreground;
use super::start;

pub(super) fn run(global: &Global, options: &Run) -> Result<u8> {
    let stays = !options.detach;
    let console = Console::new(options.create.console_socket.as_deref(), stays);
    // From here on signals are for the container.
    let foreground = stays.then(Foreground::new).transpose()?;
    if stays && !options.no_subreaper {
        set_child_subreaper(Some(getpid()))?;
    }
    let mut made = creation::make(global, &options.create, &console, false)?;
    let outcome = begin(&mut made).and_then(|()| match &foreground {
        Some(foreground) => foreground.wait(made.sandbox.pid(), made.sandbox.pidfd(), made.terminal.as_ref()),
        None => Ok(0),
    });
    if stays && options.keep && outcome.is_ok() {
        return outcome;
    }
    if stays || outcome.is_err() {
        delete::destroy(&made.container, &made.bundle.spec, &made.facts)?;
    }
    outcome
}

fn begin(made: &mut Made) -> Result<()> {
    made.sandbox.go_on()?;
    match made.sandbox.hear()? {
        Told::Executed => start::after(&made.container, &made.bundle.spec),
        _ => bail!("the container's process said what was not asked"),
    }
}
