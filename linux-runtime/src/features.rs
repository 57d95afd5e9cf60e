//! What this runtime can do, as the specification's features document tells it (features.md): what this build knows, not
//! what this machine or user lacks.

use oci_spec::runtime::{
    ApparmorBuilder, CgroupBuilder, Features, FeaturesBuilder, IDMapBuilder, IntelRdtBuilder, LinuxFeatureBuilder,
    LinuxNamespaceType, MountExtensionsBuilder, NetDevicesBuilder, Seccomp, SelinuxBuilder,
};

use crate::error::{Error, Result};
use crate::plan::{CAPABILITY_NAMES, mount_options};
use crate::seccomp::seccomp_features;

/// The versions of the runtime specification between which a config.json is understood.
const VERSIONS: (&str, &str) = ("1.0.0", "1.3.0");

const HOOKS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const NAMESPACES: [LinuxNamespaceType; 8] = [
    LinuxNamespaceType::Cgroup,
    LinuxNamespaceType::Ipc,
    LinuxNamespaceType::Mount,
    LinuxNamespaceType::Network,
    LinuxNamespaceType::Pid,
    LinuxNamespaceType::Time,
    LinuxNamespaceType::User,
    LinuxNamespaceType::Uts,
];

/// The features document of this build.
///
/// # Errors
/// None that a caller could cause.
pub fn features() -> Result<Features> {
    let wrong = |error: oci_spec::OciSpecError| Error::Plan(error.to_string());
    document(seccomp_features()?).map_err(wrong)
}

fn document(seccomp: Seccomp) -> oci_spec::Result<Features> {
    let linux = LinuxFeatureBuilder::default()
        .namespaces(NAMESPACES)
        .capabilities(CAPABILITY_NAMES.map(|name| format!("CAP_{name}")))
        .cgroup(CgroupBuilder::default().v1(true).v2(true).systemd(true).systemd_user(false).rdma(true).build()?)
        .seccomp(seccomp)
        .apparmor(ApparmorBuilder::default().enabled(true).build()?)
        .selinux(SelinuxBuilder::default().enabled(true).build()?)
        .intel_rdt(IntelRdtBuilder::default().enabled(false).build()?)
        .mount_extensions(
            MountExtensionsBuilder::default().idmap(IDMapBuilder::default().enabled(true).build()?).build()?,
        )
        .net_devices(NetDevicesBuilder::default().enabled(true).build()?)
        .build()?;
    FeaturesBuilder::default()
        .oci_version_min(VERSIONS.0)
        .oci_version_max(VERSIONS.1)
        .hooks(HOOKS.map(str::to_owned))
        .mount_options(mount_options())
        .linux(linux)
        .build()
}
