//! keyctl(2): a session keyring by name.

use std::ffi::CStr;

use rustix::io::{Errno, Result};

use super::clone::last_error;

/// linux/keyctl.h.
const JOIN_SESSION_KEYRING: libc::c_long = 1;
const SET_PERMISSIONS: libc::c_long = 5;

/// What the possessor may do with a key, all of it, and what its user may: view and search.
const PERMISSIONS: libc::c_long = 0x3f09_0000;

/// Makes the keyring called `name` the calling process's session keyring and gives its number.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<i32> {
    // SAFETY: the name is a C string that lives through the call; nothing else is pointed to.
    let keyring = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    if keyring == -1 { Err(last_error()) } else { i32::try_from(keyring).map_err(|_| Errno::OVERFLOW) }
}

/// Lets the keyring's user find its keys, whatever he becomes later.
pub(crate) fn let_user_search(keyring: i32) -> Result<()> {
    // SAFETY: three numbers; nothing is pointed to.
    let outcome = unsafe { libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, libc::c_long::from(keyring), PERMISSIONS) };
    if outcome == -1 { Err(last_error()) } else { Ok(()) }
}
