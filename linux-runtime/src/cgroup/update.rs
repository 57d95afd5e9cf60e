//! Changes the bounds of a group in which something lives.

use std::fs;
use std::path::Path;

use oci_spec::runtime::LinuxResources;

use super::members::gather;
use super::{Layout, create_group, lower};
use crate::error::{Error, Result};

/// Memory and memory with swap on v1, of which the first may never be above the second.
const MEMORY: &str = "memory.limit_in_bytes";
const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";

/// Writes what `resources` names; what it does not name stays. Devices are not touched. May wait, since the kernel takes
/// back memory before a lower limit holds: not for an event loop's thread.
///
/// # Errors
/// `Lacks` for a limit without its controller, `Cgroup` with the file that would not take its value (`ResourceBusy` for
/// memory that is in use).
pub fn update(layout: &Layout, group: &str, resources: &LinuxResources) -> Result<()> {
    for bound in lower(layout, Some(resources))? {
        let directory = bound.hierarchy.mount.join(group);
        let mut values: Vec<_> = bound.values.into_iter().filter(|(file, _)| !file.starts_with("devices.")).collect();
        if values.is_empty() {
            continue;
        }
        let failed = |file: &str| {
            let path = directory.join(file).display().to_string();
            move |source| Error::Cgroup { verb: "set", path, source }
        };
        if !directory.exists() {
            // A hierarchy in which it had no bound so far.
            create_group(&bound.hierarchy.mount, Path::new(group), bound.hierarchy.unified).map_err(failed(""))?;
            gather(layout, group, &directory).map_err(failed("cgroup.procs"))?;
        }
        order(&mut values, &directory);
        for (file, value) in values {
            match fs::write(directory.join(file), &value) {
                // Kernels without swap accounting have no such file: there is no swap to bound either.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_swap(file) => {}
                other => other.map_err(failed(file))?,
            }
        }
    }
    Ok(())
}

fn is_swap(file: &str) -> bool {
    file == WITH_SWAP || file == "memory.swap.max"
}

/// Puts the limit with swap before the one without where it grows, behind it where it shrinks.
fn order(values: &mut [(&'static str, String)], directory: &Path) {
    let at = |name: &str, values: &[(&'static str, String)]| values.iter().position(|(file, _)| *file == name);
    let (Some(memory), Some(swap)) = (at(MEMORY, values), at(WITH_SWAP, values)) else { return };
    let now = fs::read_to_string(directory.join(WITH_SWAP)).ok().and_then(|text| text.trim().parse().ok());
    let now: i64 = now.unwrap_or(i64::MAX);
    // -1 is without limit.
    let wanted = values[swap].1.parse().ok().filter(|wanted| *wanted >= 0).unwrap_or(i64::MAX);
    if (wanted > now) == (memory < swap) {
        values.swap(memory, swap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_never_passes_memory_with_swap_on_its_way() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(WITH_SWAP), "100\n").unwrap();
        let check = |wanted: &str, first: &str| {
            let mut values = vec![(MEMORY, "50".to_owned()), (WITH_SWAP, wanted.to_owned())];
            order(&mut values, folder.path());
            assert_eq!(values[0].0, first, "{wanted}");
            values.reverse();
            order(&mut values, folder.path());
            assert_eq!(values[0].0, first, "{wanted}");
        };
        check("200", WITH_SWAP);
        check("-1", WITH_SWAP);
        check("80", MEMORY);
    }
}
