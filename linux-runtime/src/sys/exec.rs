//! execve(2) with argument vectors built beforehand: between clone3 and execve nothing may allocate.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};
use std::ptr;

use rustix::io::{Errno, Result};

use super::clone::last_error;

/// As long as HOME and its value may be.
const HOME: usize = 1024;

/// A null-terminated vector of pointers into strings that it keeps.
#[derive(Debug)]
pub(crate) struct Pointers {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
    /// `HOME=...`, whose value is known only when the root has been entered. Its last byte stays 0.
    home: Option<Box<[Cell<u8>; HOME]>>,
}

impl Pointers {
    /// Builds the vector; before the clone, since it allocates.
    pub(crate) fn new(strings: Vec<CString>) -> Pointers {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Pointers { pointers, _strings: strings, home: None }
    }

    /// The same with `HOME=/` at the end, to be changed.
    pub(crate) fn with_home(strings: Vec<CString>) -> Pointers {
        let home = Box::new([const { Cell::new(0) }; HOME]);
        let mut pointers = Pointers::new(strings);
        pointers.pointers.pop();
        pointers.pointers.extend([home.as_ptr().cast(), ptr::null()]);
        pointers.home = Some(home);
        // It is long enough.
        let _ = pointers.set_home(b"/");
        pointers
    }

    /// Changes the value of HOME, if there is a place for it.
    pub(crate) fn set_home(&self, value: &[u8]) -> Result<()> {
        let Some(home) = &self.home else { return Err(Errno::INVAL) };
        if b"HOME=".len() + value.len() >= HOME {
            return Err(Errno::NAMETOOLONG);
        }
        let text = b"HOME=".iter().chain(value).chain([&0]);
        home.iter().zip(text).for_each(|(place, byte)| place.set(*byte));
        Ok(())
    }
}

/// Replaces the calling process's program; comes back only with an error.
pub(crate) fn execve(program: &CStr, arguments: &Pointers, environment: &Pointers) -> Errno {
    // SAFETY: `program` is a C string; both vectors end with a null pointer and point to C strings that `Pointers`
    // owns and whose heap buffers do not move when the vector does. That of HOME is ended by `set_home`, at the latest by
    // its last byte, which nobody writes; nobody else runs who could change it meanwhile.
    unsafe { libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    last_error()
}
