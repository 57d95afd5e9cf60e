//! A session keyring, so that a program finds none of its starter's keys (keyrings(7)): what no namespace separates.

use std::ffi::CStr;

use rustix::io::{Errno, Result};

use crate::sys;

/// Joins the session keyring called `name`, which is made if there is none; whoever possesses it may search it.
pub(super) fn join(name: &CStr) -> Result<()> {
    let keyring = match sys::join_session_keyring(name) {
        // A kernel without keys has none to hide.
        Err(Errno::NOSYS) => return Ok(()),
        other => other?,
    };
    sys::let_user_search(keyring)
}
