//! The limits of `update`: from flags, or from a document.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::arguments::Update;

/// What is asked for.
pub(super) fn asked(options: &Update) -> Result<LinuxResources> {
    if let Some(path) = &options.resources {
        return read(path);
    }
    let mut resources = LinuxResources::default();
    resources.set_cpu(cpu(options));
    resources.set_memory(memory(options)?);
    if let Some(limit) = options.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    if let Some(weight) = options.blkio_weight {
        let mut io = LinuxBlockIo::default();
        io.set_weight(Some(weight));
        resources.set_block_io(Some(io));
    }
    Ok(resources)
}

fn read(path: &Path) -> Result<LinuxResources> {
    let text = if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let what = || format!("read limits from `{}`", path.display());
    serde_json::from_str(&text.with_context(what)?).with_context(what)
}

fn cpu(options: &Update) -> Option<LinuxCpu> {
    let mut cpu = LinuxCpu::default();
    cpu.set_period(options.cpu_period);
    cpu.set_quota(options.cpu_quota);
    cpu.set_burst(options.cpu_burst);
    cpu.set_shares(options.cpu_share);
    cpu.set_realtime_period(options.cpu_rt_period);
    cpu.set_realtime_runtime(options.cpu_rt_runtime);
    cpu.set_cpus(options.cpuset_cpus.clone());
    cpu.set_mems(options.cpuset_mems.clone());
    cpu.set_idle(options.cpu_idle);
    (cpu != LinuxCpu::default()).then_some(cpu)
}

fn memory(options: &Update) -> Result<Option<LinuxMemory>> {
    let bytes = |text: &Option<String>| text.as_deref().map(bytes).transpose();
    let mut memory = LinuxMemory::default();
    memory.set_limit(bytes(&options.memory)?);
    memory.set_reservation(bytes(&options.memory_reservation)?);
    memory.set_swap(bytes(&options.memory_swap)?);
    Ok((memory != LinuxMemory::default()).then_some(memory))
}

/// `64m` as bytes; a negative number is without limit.
fn bytes(text: &str) -> Result<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let shift = match lower.bytes().last() {
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        Some(b't') => 40,
        _ => 0,
    };
    let digits = if shift == 0 { lower } else { &lower[..lower.len() - 1] };
    let number: Option<i64> = digits.parse().ok();
    match number.and_then(|number| number.checked_mul(1 << shift)) {
        Some(number) => Ok(number),
        None => bail!("`{text}` is no number of bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_units_of_memory() {
        let check = |text: &str, wanted: Option<i64>| assert_eq!(bytes(text).ok(), wanted, "{text}");
        check("1024", Some(1024));
        check("64m", Some(64 << 20));
        check("2Gb", Some(2 << 30));
        check("-1", Some(-1));
        check("m", None);
        check("9999999999t", None);
        check("1.5g", None);
    }
}
