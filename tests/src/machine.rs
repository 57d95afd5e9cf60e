//! The emulated machine with the program under test on its disk, and images for it.

use std::fs;
use std::path::Path;

use anyhow::Result;
pub use proa_machine::{DISK_MAKER, EMULATOR, Step, Transcript};
use proa_machine::{First, Machine};

use crate::guest;
use crate::harness;
use crate::node::Node;

/// Boots a machine that runs `script`: busybox, the program under test and the images `probe` and `busybox` lie on its
/// disk.
///
/// # Errors
/// When the machine cannot be made or does not end by itself in time.
pub fn boot(script: &str) -> Result<Transcript> {
    let machine = Machine::new()?;
    machine.add_program(harness::program(), "proa")?;
    let images = machine.root().join("images");
    guest::busybox_image()?.write_layout(&images.join("busybox"), "docker.io/library/busybox:latest")?;
    copy_tree(guest::probe_layout(&Node::asleep()?)?, &images.join("probe"))?;
    machine.boot(First::Script, script)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
