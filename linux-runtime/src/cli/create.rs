//! `create`: a container whose program waits for `start`.

use anyhow::Result;

use super::arguments::{Create, Global};
use super::console::Console;
use super::creation;

pub(super) fn create(global: &Global, options: &Create) -> Result<()> {
    let console = Console::new(options.console_socket.as_deref(), false);
    creation::make(global, options, &console, true).map(drop)
}
