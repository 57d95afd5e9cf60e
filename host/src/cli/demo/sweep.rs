//! What a demo that was killed left behind. A running demo holds a lock in its folder, which the kernel lets go of with
//! the process; a folder whose lock is free belongs to nobody.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;

use crate::cli::client::Client;
use crate::cli::door::Door;
use crate::cli::system;

/// How the folders of demos begin.
pub(super) const PREFIX: &str = "proa-demo-";
const LOCK: &str = "lock";

/// Marks a folder as in use, for as long as the lock is kept.
pub(super) fn claim(folder: &Path) -> anyhow::Result<File> {
    let fresh = folder.join("lock.new");
    let lock = File::create_new(&fresh).context("make the demo's lock")?;
    lock.lock().context("take the demo's lock")?;
    // Under its name it is locked from the first moment on, so that nobody finds it free.
    fs::rename(&fresh, folder.join(LOCK)).context("make the demo's lock")?;
    Ok(lock)
}

/// Ends what dead demos of this user started below `temporary` and removes their folders; what could not be removed, one
/// failure each.
pub(super) fn sweep(temporary: &Path) -> Vec<anyhow::Error> {
    let Ok(entries) = fs::read_dir(temporary) else { return Vec::new() };
    let own = rustix::process::geteuid().as_raw();
    let is_ours = |folder: &Path| fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == own);
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
        .filter(|folder| is_ours(folder))
        .filter_map(|folder| {
            let lock = File::open(folder.join(LOCK)).ok()?;
            // Held until the folder is gone, so that two demos do not sweep it together.
            lock.try_lock().ok()?;
            let swept = clear(&folder).with_context(|| format!("clean up after a dead demo in `{}`", folder.display()));
            swept.err()
        })
        .collect()
}

fn clear(folder: &Path) -> anyhow::Result<()> {
    let root = folder.join("root");
    if root.join("run").exists() {
        // Workloads outlive their host: one is started to end them where it is gone too.
        system::stop_host(Client::connect(&Door::Root(root))?).context("stop its host")?;
    }
    Ok(fs::remove_dir_all(folder)?)
}
