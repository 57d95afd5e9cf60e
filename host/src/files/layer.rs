//! `docker commit`: what a container has changed as a layer (OCI image-spec, layer.md, "Whiteouts").

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Stat};

use crate::files::beneath;
use crate::files::pack::Packer;
use crate::files::upper::{Kind, Upper};
use crate::files::view::Ids;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Writes the layer's tar to `out`.
pub fn layer(upper: Option<&Upper>, ids: Ids, out: &mut dyn Write) -> io::Result<()> {
    let mut packer = Packer::new(out, ids);
    if let Some(upper) = upper {
        upper.walk(&mut |change| {
            let path = change.path.as_os_str().as_bytes();
            let (folder, name) = split(path);
            let Some((handle, stat)) = change.now else { return Ok(()) };
            if change.kind == Kind::Deleted {
                return packer.empty_file(&[folder, WHITEOUT, name].concat(), &whiteout(stat));
            }
            // A name of the guest's own that means a whiteout would remove what it never removed.
            if name.starts_with(WHITEOUT) {
                let shown = change.path.display();
                return Err(io::Error::other(format!("`/{shown}` cannot be in a layer: its name means a whiteout")));
            }
            packer.one(handle, path)?;
            if change.opaque && beneath::kind(stat) == FileType::Directory {
                packer.empty_file(&[path, b"/", OPAQUE].concat(), &whiteout(stat))?;
            }
            Ok(())
        })?;
    }
    packer.finish()
}

/// What a whiteout's own header says, which nobody reads.
fn whiteout(like: &Stat) -> Stat {
    let mut stat = *like;
    stat.st_mode = 0;
    stat
}

/// `a/b/` and `c`.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1))
}
