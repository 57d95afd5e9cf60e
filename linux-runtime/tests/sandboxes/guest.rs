//! A guest of busybox, and the zygote it is made by.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use libtest_mimic::Failed;
use oci_spec::runtime::{Linux, Mount, Process, Root, Spec};
use proa_linux::zygote::protocol::{Exit, Request};
use proa_linux::zygote::{self, Client};
use proa_linux::{Facts, Files, IdMap, Plan, Prepared, Streams, cgroup};

pub(crate) const PARENT: &str = "proa-linux-test";

pub(crate) fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.exists())
}

/// Probing forks, which only a single-threaded process may: the harness has not started its threads yet.
pub(crate) fn lacks() -> Option<String> {
    if busybox().is_none() {
        return Some("there is no static busybox: apt install busybox-static".to_owned());
    }
    Facts::probe().lacks_user_namespace()
}

/// One zygote and a root made of busybox.
pub(crate) struct Guest {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) client: Client,
    pub(crate) facts: Facts,
    pub(crate) id: String,
    pub(crate) process: Process,
    pub(crate) linux: Linux,
    pub(crate) user: Option<IdMap>,
    pub(crate) limit: Option<i64>,
    pub(crate) read_only: bool,
    pub(crate) init: bool,
    /// Besides the standard ones.
    pub(crate) mounts: Vec<Mount>,
}

/// How a guest ended.
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) output: String,
}

impl Guest {
    pub(crate) fn new() -> Result<Guest, Failed> {
        let folder = tempfile::tempdir()?;
        let run = folder.path().join("run");
        fs::create_dir(&run)?;
        let layer = folder.path().join("layer");
        for name in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(layer.join(name))?;
        }
        fs::copy(busybox().ok_or("no busybox")?, layer.join("bin/busybox"))?;
        for name in ["sh", "true", "cat", "id", "ls", "ps", "sleep", "echo", "touch", "head", "mount", "kill", "tail"] {
            std::os::unix::fs::symlink("busybox", layer.join("bin").join(name))?;
        }
        fs::write(layer.join("etc/plain"), "not a program\n")?;
        zygote::spawn(&run)?;
        let (client, facts) = Client::connect(&run)?;
        let mut process = Process::default();
        process.set_capabilities(None);
        process.set_rlimits(None);
        let id = format!("guest-{}", folder.path().file_name().unwrap_or_default().to_string_lossy().replace('.', ""));
        Ok(Guest {
            folder,
            client,
            facts,
            id,
            process,
            linux: Linux::default(),
            user: None,
            limit: None,
            read_only: false,
            init: false,
            mounts: Vec::new(),
        })
    }

    pub(crate) fn plan(&mut self, command: &[&str]) -> Result<Plan, Failed> {
        self.process.set_args(Some(command.iter().map(|word| (*word).to_owned()).collect()));
        if let Some(limit) = self.limit {
            let mut resources = oci_spec::runtime::LinuxResources::default();
            let memory = oci_spec::runtime::LinuxMemoryBuilder::default().limit(limit).swap(limit).build()?;
            resources.set_memory(Some(memory));
            self.linux.set_resources(Some(resources));
        }
        let mut spec = Spec::default();
        spec.set_process(Some(self.process.clone()));
        spec.set_linux(Some(self.linux.clone()));
        spec.mounts_mut().get_or_insert_default().extend(self.mounts.iter().cloned());
        let mut root = Root::default();
        root.set_readonly(Some(self.read_only));
        spec.set_root(Some(root));
        let terminal = self.process.terminal().unwrap_or(false);
        let request = proa_linux::Request {
            group: &format!("{PARENT}/{}", self.id),
            files: Files::Layers {
                lower: &[self.folder.path().join("layer")],
                scratch: &self.folder.path().join("scratch"),
            },
            streams: if terminal { Streams::Terminal } else { Streams::Pipes { stdin: false } },
            user_namespace: self.user,
            default_filter: true,
            init: self.init,
            direct: None,
            keyring: None,
        };
        Ok(Plan::new(&spec, &request, &self.facts)?)
    }

    /// Creates; gives the pidfd and the ends of its output.
    pub(crate) fn create(&mut self, command: &[&str]) -> Result<Vec<OwnedFd>, Failed> {
        let plan = self.plan(command)?;
        let prepared = Prepared::new(&plan)?;
        let fds: Vec<_> = prepared.descriptors.iter().map(AsFd::as_fd).collect();
        let (id, given) = (self.id.clone(), prepared.slots);
        let request = |ticket| Request::Create { ticket, id, plan, given };
        Ok(self.client.ask(request, &fds)?.1)
    }

    /// Creates and starts.
    pub(crate) fn start(&mut self, command: &[&str]) -> Result<Vec<OwnedFd>, Failed> {
        let descriptors = self.create(command)?;
        let id = self.id.clone();
        self.client.ask(|ticket| Request::Start { ticket, id }, &[])?;
        Ok(descriptors)
    }

    pub(crate) fn finish(&mut self, descriptors: Vec<OwnedFd>) -> Result<Ended, Failed> {
        let mut output = String::new();
        for fd in descriptors.into_iter().skip(1) {
            rustix::fs::fcntl_setfl(&fd, rustix::fs::OFlags::empty())?;
            fs::File::from(fd).read_to_string(&mut output)?;
        }
        let exit = self.client.exit(&self.id)?;
        self.forget()?;
        Ok(Ended { exit, output })
    }

    pub(crate) fn forget(&mut self) -> Result<(), Failed> {
        let id = self.id.clone();
        self.client.ask(|ticket| Request::Acknowledge { ticket, id }, &[])?;
        cgroup::remove(&self.facts.cgroups, &format!("{PARENT}/{}", self.id))?;
        cgroup::remove_parent(&self.facts.cgroups, PARENT);
        for name in ["upper", "work"] {
            fs::remove_dir_all(self.folder.path().join("scratch").join(name))?;
        }
        Ok(())
    }

    pub(crate) fn run(&mut self, command: &[&str]) -> Result<Ended, Failed> {
        let descriptors = self.start(command)?;
        self.finish(descriptors)
    }

    pub(crate) fn shell(&mut self, script: &str) -> Result<Ended, Failed> {
        self.run(&["sh", "-c", script])
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // The zygote ends with its last sandbox; a failed case may leave one, which ends with its group.
        cgroup::kill_all(&self.facts.cgroups, &format!("{PARENT}/{}", self.id));
        let _ = self.client.ask(|ticket| Request::Stop { ticket }, &[]);
    }
}

pub(crate) fn expect(what: &str, holds: bool, seen: impl std::fmt::Debug) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("{what}: {seen:?}").into()) }
}
