//! A process as the kernel shows it from outside: what isolation is proven by.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::leftovers;

/// A process by its id on the node.
#[derive(Debug, Clone, Copy)]
pub struct Outside {
    pid: u32,
}

impl Outside {
    /// The process `pid`.
    pub fn new(pid: u32) -> Outside {
        Outside { pid }
    }

    /// Its id on the node.
    pub fn pid(self) -> u32 {
        self.pid
    }

    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// A file of its /proc folder as text.
    ///
    /// # Errors
    /// When it is gone.
    pub fn read(self, name: &str) -> Result<String> {
        let path = self.file(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// A field of /proc/PID/status, such as `CapEff`.
    ///
    /// # Errors
    /// When it is gone or the kernel has no such field.
    pub fn status(self, field: &str) -> Result<String> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no `{field}` in {status}"))?.trim().to_owned())
    }

    /// Its effective capabilities as a bit set.
    ///
    /// # Errors
    /// When it is gone.
    pub fn capabilities(self) -> Result<u64> {
        Ok(u64::from_str_radix(&self.status("CapEff")?, 16)?)
    }

    /// The most memory it has had since [`forget_peak`](Outside::forget_peak), in bytes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn peak(self) -> Result<u64> {
        let kib = self.status("VmHWM")?;
        Ok(kib.trim_end_matches("kB").trim().parse::<u64>()? << 10)
    }

    /// Begins a new measurement of the peak, where the machine allows it (proc(5), `clear_refs`).
    pub fn forget_peak(self) {
        let _ = fs::write(self.file("clear_refs"), "5");
    }

    /// Its id in the namespaces it stands in, outermost first.
    ///
    /// # Errors
    /// When it is gone.
    pub fn ids(self) -> Result<Vec<u32>> {
        Ok(self.status("NSpid")?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }

    /// The identity of one of its namespaces, such as `pid:[4026531836]`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn namespace(self, kind: &str) -> Result<String> {
        Ok(fs::read_link(self.file("ns").join(kind))?.to_string_lossy().into_owned())
    }

    /// Whether it shares none of the named namespaces with us; the first shared one otherwise.
    ///
    /// # Errors
    /// When it is gone.
    pub fn first_shared(self, kinds: &[&'static str]) -> Result<Option<&'static str>> {
        let own = Outside::new(std::process::id());
        for kind in kinds {
            if self.namespace(kind)? == own.namespace(kind)? {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    /// The names in its root directory.
    ///
    /// # Errors
    /// When it is gone.
    pub fn root(self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.file("root"))?;
        Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    /// Whether it lives; a zombie does not.
    pub fn lives(self) -> bool {
        self.status("State").is_ok_and(|state| !state.starts_with('Z'))
    }

    /// Every process of the machine that descends from it.
    pub fn descendants(self) -> Vec<u32> {
        let parents: Vec<(u32, u32)> = leftovers::pids()
            .into_iter()
            .filter_map(|pid| Some((pid, Outside::new(pid).status("PPid").ok()?.parse().ok()?)))
            .collect();
        let mut family = vec![self.pid];
        let mut next = 0;
        while let Some(parent) = family.get(next).copied() {
            family.extend(parents.iter().filter(|(_, its_parent)| *its_parent == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        family.split_off(1)
    }
}
