//! One value for one file of a group, and how values are written: some hold only once another one does.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A file of a group and what is written to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub file: String,
    /// Several lines are written one by one, as the kernel wants them.
    pub value: String,
    pub missing: Missing,
}

/// What follows where the group has no such file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The kernel cannot give what was asked.
    Refused,
    /// The value is what holds without the file too.
    Passed,
    /// Another file with another value does the same.
    Instead(String, String),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.file, self.value)?;
        match &self.missing {
            Missing::Refused => Ok(()),
            Missing::Passed => f.write_str(" if there is such a file"),
            Missing::Instead(file, value) => write!(f, " or {file}={value}"),
        }
    }
}

/// A setting that the kernel did not take.
#[derive(Debug)]
pub(crate) struct Unsettled {
    pub(crate) file: String,
    pub(crate) value: String,
    pub(crate) source: io::Error,
}

impl Setting {
    /// A setting whose file must be there.
    pub(crate) fn new(file: impl Into<String>, value: impl ToString) -> Setting {
        Setting { file: file.into(), value: value.to_string(), missing: Missing::Refused }
    }

    /// The same where `holds` is the case without the file too.
    pub(crate) fn passed_if(mut self, holds: bool) -> Setting {
        if holds {
            self.missing = Missing::Passed;
        }
        self
    }

    /// The same where another file may have to do.
    pub(crate) fn or(mut self, file: &str, value: impl ToString) -> Setting {
        self.missing = Missing::Instead(file.to_owned(), value.to_string());
        self
    }

    fn write(&self, group: &mut Group<'_>) -> io::Result<()> {
        match (group.write(&self.file, &self.value), &self.missing) {
            (Err(error), Missing::Passed) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            (Err(error), Missing::Instead(file, value)) if error.kind() == io::ErrorKind::NotFound => {
                group.write(file, value)
            }
            (outcome, _) => outcome,
        }
    }
}

/// Writes all `settings` of the group at `directory`. What is invalid is tried again after the others: memory may never
/// pass memory with swap, a burst may not pass its quota, an idle group has no weight, and which of two values must come
/// first depends on what holds now.
pub(crate) fn settle(directory: &Path, settings: &[Setting]) -> Result<(), Unsettled> {
    let mut group = Group { directory, open: None };
    let mut waiting: Vec<&Setting> = settings.iter().collect();
    loop {
        let (before, mut refused) = (waiting.len(), None);
        let mut still = Vec::new();
        for setting in waiting {
            let Err(source) = setting.write(&mut group) else { continue };
            let unsettled = Unsettled { file: setting.file.clone(), value: setting.value.clone(), source };
            if unsettled.source.raw_os_error() != Some(Errno::INVAL.raw_os_error()) {
                return Err(unsettled);
            }
            refused.get_or_insert(unsettled);
            still.push(setting);
        }
        match refused {
            None => return Ok(()),
            Some(unsettled) if still.len() == before => return Err(unsettled),
            Some(_) => waiting = still,
        }
    }
}

/// A group, and the file of it that was written last: a list of devices is a dozen values for one.
struct Group<'a> {
    directory: &'a Path,
    open: Option<(String, File)>,
}

impl Group<'_> {
    fn write(&mut self, name: &str, value: &str) -> io::Result<()> {
        let open = self.open.take().filter(|(last, _)| last == name);
        let (_, file) = match open {
            Some(open) => self.open.insert(open),
            None => self.open.insert((name.to_owned(), open_file(&self.directory.join(name))?)),
        };
        write_to(file, value)
    }
}

/// Writes to a file that must be there.
pub(super) fn write(file: &Path, value: &str) -> io::Result<()> {
    write_to(&mut open_file(file)?, value)
}

/// With O_CREAT a missing file would be told as one that may not be made.
fn open_file(file: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(file)
}

fn write_to(file: &mut File, value: &str) -> io::Result<()> {
    if value.is_empty() {
        // Nothing at all would be no call to the controller.
        return file.write_all(b"\n");
    }
    value.lines().try_for_each(|line| file.write_all(line.as_bytes()))
}

impl Unsettled {
    /// For a step: the sentence names the specification's field.
    pub(crate) fn told(self) -> io::Error {
        let Unsettled { file, value, source } = self;
        let field = field(&file);
        let sentence = match source.kind() {
            io::ErrorKind::NotFound => format!("`{field}`: groups of this kernel have no `{file}`"),
            _ => format!("`{field}`: write `{value}` to `{file}`: {source}"),
        };
        io::Error::new(source.kind(), sentence)
    }

    /// For a change of the group at `directory`.
    pub(crate) fn of(self, directory: &Path) -> Error {
        if self.source.kind() == io::ErrorKind::NotFound && directory.exists() {
            return Error::Lacks(self.told().to_string());
        }
        let path = directory.join(&self.file).display().to_string();
        Error::Cgroup { verb: "set", path, source: self.source }
    }
}

/// What bounds what, as beginnings of files' names and fields below `linux.resources`.
const FIELDS: [(&str, &str); 34] = [
    ("memory.limit_in_bytes", "memory.limit"),
    ("memory.max", "memory.limit"),
    ("memory.soft_limit_in_bytes", "memory.reservation"),
    ("memory.low", "memory.reservation"),
    ("memory.memsw.limit_in_bytes", "memory.swap"),
    ("memory.swap.max", "memory.swap"),
    ("memory.kmem.tcp.limit_in_bytes", "memory.kernelTCP"),
    ("memory.swappiness", "memory.swappiness"),
    ("memory.oom_control", "memory.disableOOMKiller"),
    ("memory.use_hierarchy", "memory.useHierarchy"),
    ("cpu.shares", "cpu.shares"),
    ("cpu.weight", "cpu.shares"),
    ("cpu.cfs_quota_us", "cpu.quota"),
    ("cpu.max", "cpu.quota"),
    ("cpu.cfs_period_us", "cpu.period"),
    ("cpu.cfs_burst_us", "cpu.burst"),
    ("cpu.max.burst", "cpu.burst"),
    ("cpu.idle", "cpu.idle"),
    ("cpu.rt_runtime_us", "cpu.realtimeRuntime"),
    ("cpu.rt_period_us", "cpu.realtimePeriod"),
    ("cpuset.cpus", "cpu.cpus"),
    ("cpuset.mems", "cpu.mems"),
    ("blkio.weight", "blockIO.weight"),
    ("io.bfq.weight", "blockIO.weight"),
    ("blkio.weight_device", "blockIO.weightDevice"),
    ("blkio.leaf_weight", "blockIO.leafWeight"),
    ("blkio.throttle.", "blockIO"),
    ("io.max", "blockIO"),
    ("devices.", "devices"),
    ("hugetlb.", "hugepageLimits"),
    ("net_cls.classid", "network.classID"),
    ("net_prio.ifpriomap", "network.priorities"),
    ("pids.max", "pids.limit"),
    ("rdma.max", "rdma"),
];

/// The specification's field that a file's value comes from: the longest beginning that is known decides.
fn field(file: &str) -> String {
    let known = FIELDS.iter().filter(|(beginning, _)| file.starts_with(beginning));
    let field = known.max_by_key(|(beginning, _)| beginning.len()).map_or("unified", |(_, field)| field);
    format!("linux.resources.{field}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_is_told_by_its_field() {
        let folder = tempfile::tempdir().unwrap();
        let told =
            |setting: Setting| settle(folder.path(), &[setting]).map_err(|unsettled| unsettled.told().to_string());
        let refused = told(Setting::new("cpu.max.burst", 5)).unwrap_err();
        assert_eq!(refused, "`linux.resources.cpu.burst`: groups of this kernel have no `cpu.max.burst`");
        let refused = told(Setting::new("memory.high", 5)).unwrap_err();
        assert_eq!(refused, "`linux.resources.unified`: groups of this kernel have no `memory.high`");
        told(Setting::new("memory.swap.max", "max").passed_if(true)).unwrap();
    }

    #[test]
    fn another_file_does_where_the_first_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("io.weight"), "").unwrap();
        settle(folder.path(), &[Setting::new("io.bfq.weight", 500).or("io.weight", "default 4950")]).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("io.weight")).unwrap(), "default 4950");
        assert!(!folder.path().join("io.bfq.weight").exists(), "a value makes no file");
    }
}
