//! execve(2) with argument vectors built beforehand: between clone3 and execve nothing may allocate.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use rustix::io::Errno;

use super::clone::last_error;

/// A null-terminated vector of pointers into strings that it keeps.
#[derive(Debug)]
pub(crate) struct Pointers {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Pointers {
    /// Builds the vector; before the clone, since it allocates.
    pub(crate) fn new(strings: Vec<CString>) -> Pointers {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Pointers { pointers, _strings: strings }
    }
}

/// Replaces the calling process's program; comes back only with an error.
pub(crate) fn execve(program: &CStr, arguments: &Pointers, environment: &Pointers) -> Errno {
    // SAFETY: `program` is a C string; both vectors end with a null pointer and point to C strings that `Pointers`
    // owns and whose heap buffers do not move when the vector does.
    unsafe { libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    last_error()
}
