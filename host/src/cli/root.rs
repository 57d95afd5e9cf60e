//! Which root directory a command means. Everything proa keeps is below it.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where proa keeps its things when it may.
const SYSTEM: &str = "/var/lib/proa";

/// `--root` before PROA_ROOT before `/var/lib/proa` where that can be written, else the user's own data folder. The
/// answer is absolute.
pub(crate) fn find(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let given = given.map(Path::to_path_buf).or_else(|| std::env::var_os("PROA_ROOT").map(PathBuf::from));
    let root = match given.filter(|root| !root.as_os_str().is_empty()) {
        Some(root) => root,
        None if is_writable(Path::new(SYSTEM)) => PathBuf::from(SYSTEM),
        None => data_home().context("find a place for proa's files\nhint: set PROA_ROOT or HOME")?,
    };
    std::path::absolute(&root).with_context(|| format!("find the root directory `{}`", root.display()))
}

/// Decided by trying: root in a container with a read-only /var is told apart from root with a writable one.
fn is_writable(folder: &Path) -> bool {
    std::fs::create_dir_all(folder).is_ok() && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn data_home() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").filter(|data| data.is_absolute());
    Some(data.or_else(|| set("HOME").map(|home| home.join(".local/share")))?.join("proa"))
}
