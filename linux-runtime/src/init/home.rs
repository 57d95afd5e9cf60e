//! HOME of a program whose specification names none, as other runtimes give it: what the root's /etc/passwd says of the
//! user, or `/`. The file is a stranger's: only a regular one is read, so far and no line longer than that.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::{Result, retry_on_intr};

use super::{Context, beneath};

/// No machine has as many users.
const MOST: usize = 1 << 20;
const LINE: usize = 1024;

/// Which of a line's fields they are (passwd(5)).
const USER: usize = 2;
const HOME: usize = 5;

/// Puts it into the environment, where a place is kept for it.
pub(super) fn find(context: &Context<'_>, uid: u32) -> Result<()> {
    let root = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // A pipe in its place would let us wait for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match beneath::open(root.as_fd(), c"etc/passwd", flags, false) {
        Ok(file) => file,
        Err(_) => return Ok(()),
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    search(&file, uid, |home| context.environment.set_home(home))
}

fn search(file: &OwnedFd, uid: u32, found: impl Fn(&[u8]) -> Result<()>) -> Result<()> {
    let (mut line, mut length) = ([0; LINE], 0);
    let mut seen = 0;
    let mut buffer = [0; 4096];
    while seen < MOST {
        let count = retry_on_intr(|| rustix::io::read(file, &mut buffer))?;
        let end = [b'\n'];
        // The last line may have no end.
        let read = if count == 0 { &end[..] } else { &buffer[..count] };
        for byte in read {
            if *byte != b'\n' {
                // One that is too long is nobody's.
                if let Some(place) = line.get_mut(length) {
                    *place = *byte;
                }
                length += 1;
                continue;
            }
            if let Some(home) = line.get(..length).and_then(|line| home_of(line, uid)) {
                return found(home);
            }
            length = 0;
        }
        if count == 0 {
            return Ok(());
        }
        seen += count;
    }
    Ok(())
}

/// The directory of a line that is this user's.
fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|byte| *byte == b':');
    let user = std::str::from_utf8(fields.nth(USER)?).ok()?;
    let home = fields.nth(HOME - USER - 1)?;
    (user.parse() == Ok(uid) && !home.is_empty() && !home.contains(&0)).then_some(home)
}
