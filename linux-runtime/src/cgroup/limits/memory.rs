//! Memory. The specification counts memory and swap together, as v1 does; v2 counts swap alone.

use oci_spec::runtime::LinuxMemory;

use super::super::setting::Setting;
use super::{number_or_max, refused};
use crate::error::Result;

pub(super) fn settings(memory: &LinuxMemory, unified: bool) -> Result<Vec<Setting>> {
    if memory.kernel().is_some_and(|limit| limit > 0) {
        // NOT RECOMMENDED by the specification; Linux refuses it since 5.16 and passes over it since 6.2.
        return refused("memory.kernel", "Linux bounds no kernel memory by itself any more");
    }
    if memory.use_hierarchy() == Some(false) {
        return refused("memory.useHierarchy", "every group is bounded by those above it since Linux 5.11");
    }
    if unified { new(memory) } else { Ok(old(memory)) }
}

fn new(memory: &LinuxMemory) -> Result<Vec<Setting>> {
    if memory.swappiness().is_some() {
        return refused("memory.swappiness", "cgroups v2 have no swappiness of their own");
    }
    if memory.disable_oom_killer() == Some(true) {
        return refused("memory.disableOOMKiller", "cgroups v2 cannot disable the OOM killer");
    }
    if given(memory.kernel_tcp()).is_some_and(|limit| limit > 0) {
        return refused("memory.kernelTCP", "cgroups v2 bound such memory with all other");
    }
    let mut settings = Vec::new();
    settings.extend(given(memory.reservation()).map(|bytes| Setting::new("memory.low", number_or_max(bytes))));
    settings.extend(given(memory.limit()).map(|bytes| Setting::new("memory.max", number_or_max(bytes))));
    let swap = swap_alone(memory.limit(), memory.swap())?;
    // A kernel without swap has no such file: what asks for none, or for no bound, holds all the same.
    settings.extend(swap.map(|bytes| Setting::new("memory.swap.max", number_or_max(bytes)).passed_if(bytes <= 0)));
    Ok(settings)
}

/// The bound of swap alone for one of memory and swap, as v2 wants it; `None` leaves it.
///
/// # Errors
/// What cannot be told from the two numbers.
pub(in super::super) fn swap_alone(limit: Option<i64>, swap: Option<i64>) -> Result<Option<i64>> {
    match (limit.unwrap_or(0), swap.unwrap_or(0)) {
        // As with v1, memory without bounds takes swap along.
        (-1, 0) => Ok(Some(-1)),
        (_, 0) => Ok(None),
        (_, swap) if swap < 0 => Ok(Some(-1)),
        (limit, swap) if limit < 0 => Ok(Some(swap)),
        (0, _) => refused("memory.swap", "it counts memory and swap together, so that it needs `memory.limit` too"),
        (limit, swap) if swap < limit => {
            refused("memory.swap", "it counts memory and swap together, so that it may not be below `memory.limit`")
        }
        (limit, swap) => Ok(Some(swap - limit)),
    }
}

fn old(memory: &LinuxMemory) -> Vec<Setting> {
    let mut settings = Vec::new();
    if memory.use_hierarchy() == Some(true) {
        settings.push(Setting::new("memory.use_hierarchy", 1));
    }
    settings.extend(given(memory.reservation()).map(|bytes| Setting::new("memory.soft_limit_in_bytes", bytes)));
    settings.extend(given(memory.limit()).map(|bytes| Setting::new("memory.limit_in_bytes", bytes)));
    let swap = given(memory.swap()).or((memory.limit() == Some(-1)).then_some(-1));
    // A kernel that does not account swap has no such file: what asks for no more than memory, or for no bound, is let
    // pass there, as everybody asks for it.
    let free = swap.is_some_and(|swap| swap < 0 || memory.limit() == Some(swap));
    settings.extend(swap.map(|bytes| Setting::new("memory.memsw.limit_in_bytes", bytes).passed_if(free)));
    settings.extend(given(memory.kernel_tcp()).map(|bytes| Setting::new("memory.kmem.tcp.limit_in_bytes", bytes)));
    settings.extend(memory.swappiness().map(|value| Setting::new("memory.swappiness", value)));
    let disable = memory.disable_oom_killer();
    settings.extend(disable.map(|disable| Setting::new("memory.oom_control", u8::from(disable)).passed_if(!disable)));
    settings
}

/// Zero is what other languages write for what is not there.
fn given(number: Option<i64>) -> Option<i64> {
    number.filter(|number| *number != 0)
}
