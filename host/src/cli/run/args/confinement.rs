//! Flags about what confines a container.

use clap::Args;

/// Who it is and what it may do.
#[derive(Debug, Args)]
pub(crate) struct ConfinementArgs {
    /// What confines it: auto, wasm, wasm-process, linux or linux-userns
    #[arg(long, value_name = "MODEL")]
    pub(crate) isolation: Option<String>,
    /// Whose container it is; only one tenant's Wasm guests share a process
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// The user inside
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// One more group of the user
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Give it a capability
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Take a capability from it
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Give it everything
    #[arg(long)]
    pub(crate) privileged: bool,
    /// no-new-privileges, seccomp=FILE, apparmor=PROFILE and Docker's others
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Set a kernel parameter of its namespaces
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<String>,
    /// Give it a device of the node
    #[arg(long, value_name = "DEVICE[:PATH][:rwm]")]
    pub(crate) device: Vec<String>,
    /// Allow devices by number
    #[arg(long, value_name = "RULE")]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Give it graphics processors
    #[arg(long, value_name = "REQUEST")]
    pub(crate) gpus: Vec<String>,
    /// Whose processes it sees
    #[arg(long, value_name = "MODE")]
    pub(crate) pid: Option<String>,
    /// Whose shared memory it sees
    #[arg(long, value_name = "MODE")]
    pub(crate) ipc: Option<String>,
    /// Whose host name it has
    #[arg(long, value_name = "MODE")]
    pub(crate) uts: Option<String>,
    /// Whose users it has
    #[arg(long, value_name = "MODE")]
    pub(crate) userns: Option<String>,
    /// Whose cgroups it sees
    #[arg(long, value_name = "MODE")]
    pub(crate) cgroupns: Option<String>,
    /// The cgroup its own is made beneath
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup_parent: Option<String>,
    /// The runtime
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<String>,
}
