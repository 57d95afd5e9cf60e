//! Lowers an OCI runtime specification to grants. Pure: no I/O, no clock, no handles.

use std::fmt;
use std::path::PathBuf;

use oci_spec::runtime::{Mount, Process, Spec};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::facts::ModuleKind;
use crate::grant::Grant;

/// Linear memory of a guest whose specification sets no limit, in bytes.
pub const DEFAULT_MEMORY: u64 = 1 << 30;

/// What the specification does not say.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How the module is entered.
    pub kind: ModuleKind,
    /// Whether standard input stays open for writers.
    pub stdin: bool,
    /// Whether the image has files of its own, to be seen read-only at `/`.
    pub files: bool,
    /// Addresses of the sockets published for it.
    pub listeners: Vec<String>,
    /// Whether the guest's worker is its own, so that a cgroup can bound its processor time.
    pub own_worker: bool,
}

/// All that a guest may touch, in an order in which it can be read; also the order of its handles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub grants: Vec<Grant>,
}

impl Plan {
    /// Lowers `spec`.
    ///
    /// # Errors
    /// `Specification` with one sentence when it asks for what a Wasm guest cannot have.
    pub fn new(spec: &Spec, setting: &Setting) -> Result<Plan> {
        refuse_processor_limits(spec, setting)?;
        let process = spec.process().as_ref();
        let mut grants = vec![
            Grant::World(setting.kind),
            Grant::Memory(memory(spec)?),
            Grant::Arguments(process.and_then(|process| process.args().clone()).unwrap_or_default()),
            Grant::Environment(environment(process)),
        ];
        grants.extend(directory(process));
        grants.push(streams(process, setting)?);
        if setting.files {
            grants.push(Grant::Preopen { guest: "/".to_owned(), read_only: true });
        }
        grants
            .extend(binds(spec).map(|mount| Grant::Preopen { guest: guest_path(mount), read_only: read_only(mount) }));
        if !setting.listeners.is_empty() && setting.kind != ModuleKind::Http {
            return Err(Error::Specification("only a `wasi:http` component can have published ports".to_owned()));
        }
        grants.extend(setting.listeners.iter().cloned().map(Grant::Listener));
        grants.extend([Grant::Clocks, Grant::Random, Grant::NoNetwork]);
        Ok(Plan { grants })
    }

    /// The host's side of each bind mount, in the order of the plan's grants (after the image's own files).
    pub fn sources(spec: &Spec) -> Result<Vec<(PathBuf, bool)>> {
        binds(spec)
            .map(|mount| match mount.source() {
                Some(source) => Ok((source.clone(), read_only(mount))),
                None => Err(Error::Specification(format!("the mount at `{}` has no source", guest_path(mount)))),
            })
            .collect()
    }

    /// How many handles its grants need.
    pub fn handles(&self) -> usize {
        self.grants.iter().map(Grant::handles).sum()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.grants.iter().try_for_each(|grant| writeln!(f, "{grant}"))
    }
}

fn refuse_processor_limits(spec: &Spec, setting: &Setting) -> Result<()> {
    let processor =
        spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()).and_then(|all| all.cpu().as_ref());
    match processor.and_then(|cpu| cpu.quota()) {
        Some(quota) if quota > 0 && !setting.own_worker => Err(Error::Specification(
            "a processor limit cannot be held under `wasm` yet; `wasm-process` holds it".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn memory(spec: &Spec) -> Result<u64> {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    match resources.and_then(|all| all.memory().as_ref()).and_then(|memory| memory.limit()) {
        None => Ok(DEFAULT_MEMORY),
        // Runtime-spec 1.2, "Memory": -1 is unlimited; an engine shared by many is always bounded.
        Some(limit) if limit < 0 => Ok(DEFAULT_MEMORY),
        Some(0) => Ok(DEFAULT_MEMORY),
        Some(limit) => u64::try_from(limit)
            .map_err(|_| Error::Specification(format!("the memory limit {limit} is not a number of bytes"))),
    }
}

fn environment(process: Option<&Process>) -> Vec<(String, String)> {
    let entries = process.and_then(|process| process.env().clone()).unwrap_or_default();
    entries
        .into_iter()
        // An entry without `=` has no value to give; CVE-2026-57231 was one that took it from the host.
        .filter_map(|entry| entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect()
}

fn directory(process: Option<&Process>) -> Option<Grant> {
    let path = process?.cwd().to_string_lossy().into_owned();
    (!path.is_empty()).then_some(Grant::Directory(path))
}

fn streams(process: Option<&Process>, setting: &Setting) -> Result<Grant> {
    let terminal = process.and_then(Process::terminal).unwrap_or(false);
    match (setting.kind, terminal, setting.stdin) {
        (ModuleKind::Http, true, _) => {
            Err(Error::Specification("a `wasi:http` component has no terminal; leave out `-t`".to_owned()))
        }
        (ModuleKind::Http, false, _) => Ok(Grant::Log),
        (_, true, _) => Ok(Grant::Terminal),
        (_, false, true) => Ok(Grant::Pipe),
        (_, false, false) => Ok(Grant::Log),
    }
}

fn binds(spec: &Spec) -> impl Iterator<Item = &Mount> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    mounts.iter().filter(|mount| mount.typ().as_deref() == Some("bind") || option(mount, &["bind", "rbind"]))
}

fn option(mount: &Mount, names: &[&str]) -> bool {
    mount.options().as_deref().unwrap_or_default().iter().any(|option| names.contains(&option.as_str()))
}

fn read_only(mount: &Mount) -> bool {
    option(mount, &["ro"])
}

fn guest_path(mount: &Mount) -> String {
    mount.destination().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{
        LinuxBuilder, LinuxCpuBuilder, LinuxResourcesBuilder, MountBuilder, ProcessBuilder, SpecBuilder,
    };

    use super::*;

    fn setting() -> Setting {
        Setting { kind: ModuleKind::Command, stdin: false, files: false, listeners: Vec::new(), own_worker: false }
    }

    fn spec() -> SpecBuilder {
        let process = ProcessBuilder::default()
            .args(vec!["app".to_owned(), "-v".to_owned()])
            .env(vec!["A=1".to_owned(), "B=x=y".to_owned(), "NAKED".to_owned()])
            .cwd("/")
            .build()
            .unwrap();
        SpecBuilder::default().process(process).mounts(Vec::<Mount>::new())
    }

    fn check(spec: SpecBuilder, setting: &Setting, lines: &[&str]) {
        let plan = Plan::new(&spec.build().unwrap(), setting).unwrap().to_string();
        for line in lines {
            assert!(plan.lines().any(|found| found == *line), "`{line}` is missing in:\n{plan}");
        }
    }

    #[test]
    fn a_plan_names_what_the_guest_may_touch() {
        let data = MountBuilder::default().typ("bind").source("/srv").destination("/data").build().unwrap();
        let fixed = MountBuilder::default()
            .typ("bind")
            .source("/etc")
            .destination("/fixed")
            .options(vec!["ro".to_owned()])
            .build()
            .unwrap();
        let proc = MountBuilder::default().typ("proc").source("proc").destination("/proc").build().unwrap();
        check(
            spec().mounts(vec![data, fixed, proc]),
            &setting(),
            &[
                "world wasi:cli/command@0.2",
                "arguments [\"app\", \"-v\"]",
                "environment A B",
                "directory `/data` read-write",
                "directory `/fixed` read-only",
                "network none: sockets, name lookup and outgoing requests are denied",
            ],
        );
    }

    #[test]
    fn a_processor_limit_needs_a_worker_of_its_own() {
        let cpu = LinuxCpuBuilder::default().quota(50_000_i64).period(100_000_u64).build().unwrap();
        let resources = LinuxResourcesBuilder::default().cpu(cpu).build().unwrap();
        let linux = LinuxBuilder::default().resources(resources).build().unwrap();
        let spec = spec().linux(linux).build().unwrap();
        assert!(Plan::new(&spec, &setting()).is_err());
        assert!(Plan::new(&spec, &Setting { own_worker: true, ..setting() }).is_ok());
    }

    #[test]
    fn only_an_http_component_takes_listeners() {
        let listeners = vec!["127.0.0.1:80".to_owned()];
        let spec = spec().build().unwrap();
        assert!(Plan::new(&spec, &Setting { listeners: listeners.clone(), ..setting() }).is_err());
        let http = Setting { kind: ModuleKind::Http, listeners, ..setting() };
        assert_eq!(Plan::new(&spec, &http).unwrap().handles(), 1);
    }
}
