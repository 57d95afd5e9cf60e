//! `docker diff`: every change as a list, ordered by path.

use std::io;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::files::upper::{Kind, Upper};

/// Bytes of paths that are listed; more changes are not told, since nobody reads them and the memory is everybody's.
const LISTED_MAX: usize = 64 << 20;

/// Every change of a container whose upper folder is `upper`, absolute paths.
///
/// # Errors
/// `Invalid` when there are too many to list.
pub fn changes(container: &str, upper: Option<&Upper>) -> Result<Vec<(PathBuf, Kind)>> {
    let Some(upper) = upper else { return Ok(Vec::new()) };
    let (mut all, mut bytes) = (Vec::new(), 0);
    let walked = upper.walk(&mut |change| {
        let path = PathBuf::from("/").join(change.path);
        bytes += path.as_os_str().len() + size_of::<(PathBuf, Kind)>();
        if bytes > LISTED_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        all.push((path, change.kind));
        Ok(())
    });
    match walked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
            return Err(Error::Invalid(format!("container {container} has changed too many files to list")));
        }
        Err(source) => {
            return Err(Error::Files { attempt: "read the changes of", container: container.to_owned(), source });
        }
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}
