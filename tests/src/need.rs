//! What a case needs of the machine, decided by trying, never by uid alone.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use crate::isolation::Isolation;
use crate::leftovers;
use crate::node::Node;
use crate::program;
use crate::python;

/// One thing a case cannot do without.
#[derive(Debug, Clone)]
pub enum Need {
    /// The host says it can run this model here.
    Isolation(Isolation),
    /// A program of somebody else's.
    Peer(&'static str),
    /// Files of other owners can be made and read.
    Root,
    /// The opposite: what only an ordinary user can show.
    OrdinaryUser,
    /// Cgroups can be made, so that limits hold.
    Cgroups,
    /// A Debian root file system, made once with debootstrap and kept.
    Debian,
    /// Debian's cloud kernel, fetched once and kept; nothing of it is installed.
    Kernel,
    /// A WASI program of somebody else's, installed once from the crate registry and kept.
    Crate(&'static program::Wasi),
    /// The docker command line of Debian's next release, fetched once and kept; it is not installed.
    OlderDocker,
    /// docker-py in an environment of its own, installed once by pip and kept.
    DockerPy,
    /// The integration tests that docker-py's authors publish with it, fetched once by pip and kept.
    DockerPyTests,
}

impl Need {
    /// Why the machine lacks it; `None` when it has it.
    pub fn lacking(&self) -> Option<String> {
        match self {
            Need::Isolation(isolation) => isolation_lacks(*isolation),
            Need::Peer(name) => peer(name).is_none().then(|| format!("`{name}` is not installed")),
            Need::Root => (!rustix::process::geteuid().is_root()).then(|| "this is an ordinary user".to_owned()),
            Need::OrdinaryUser => rustix::process::geteuid().is_root().then(|| "this is root".to_owned()),
            Need::Cgroups => cgroups_lack(),
            Need::Debian => program::debian().err().map(|error| format!("{error:#}")),
            Need::Kernel => proa_machine::kernel().err().map(|error| format!("{error:#}")),
            Need::Crate(wasi) => program::wasi(wasi).err().map(|error| format!("{error:#}")),
            Need::OlderDocker => program::older_docker().err().map(|error| format!("{error:#}")),
            Need::DockerPy => python::docker_py().err().map(|error| format!("{error:#}")),
            Need::DockerPyTests => python::docker_py_tests().err().map(|error| format!("{error:#}")),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Isolation(isolation) => write!(f, "the isolation `{isolation}`"),
            Need::Peer(name) => write!(f, "`{name}`"),
            Need::Root => f.write_str("root"),
            Need::OrdinaryUser => f.write_str("an ordinary user"),
            Need::Cgroups => f.write_str("writable cgroups"),
            Need::Debian => f.write_str("a Debian root"),
            Need::Kernel => f.write_str("Debian's cloud kernel"),
            Need::Crate(wasi) => write!(f, "the WASI program `{}`", wasi.program),
            Need::OlderDocker => f.write_str("the older docker command line"),
            Need::DockerPy => f.write_str("docker-py"),
            Need::DockerPyTests => f.write_str("docker-py's own tests"),
        }
    }
}

/// Where a peer's program lies.
pub fn peer(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), "/bin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The host finds out by trying; what it says is `Proa.Isolation` in `GET /info`. An answer of another shape is no reason to
/// skip: the case then runs and shows what is wrong.
fn isolation_lacks(isolation: Isolation) -> Option<String> {
    let info = Node::shared().ok()?.get("/info").ok()?.json().ok()?;
    let models = info["Proa"]["Isolation"].as_array()?;
    let model = models.iter().find(|model| model["Isolation"] == isolation.name())?;
    model["Lacks"].as_str().filter(|lacks| !lacks.is_empty()).map(str::to_owned)
}

fn cgroups_lack() -> Option<String> {
    let trial = format!("proa-test-trial-{}", std::process::id());
    for top in leftovers::hierarchies() {
        let folder = top.join(&trial);
        if fs::create_dir(&folder).is_ok() {
            let limits = folder.join("memory.limit_in_bytes").exists() || folder.join("memory.max").exists();
            let _ = fs::remove_dir(&folder);
            if limits {
                return None;
            }
        }
    }
    Some("no cgroup with a memory controller can be made".to_owned())
}
