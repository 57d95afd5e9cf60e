use std::collections::HashMap;
use std::path::Path;

use bollard_stubs::models::{ContainerConfig, HostConfig};
use oci_spec::runtime::{Capability, LinuxNamespaceType, Spec};
use proa_sandbox::Isolation;

use super::*;
use crate::state::record::{Content, User};
use crate::state::{Record, Status};

pub(crate) fn record(isolation: Isolation) -> Record {
    Record {
        id: "ab".repeat(32),
        name: "x".to_owned(),
        created: 0,
        image: "busybox".to_owned(),
        image_id: String::new(),
        manifest: String::new(),
        tenant: "default".to_owned(),
        isolation,
        config: ContainerConfig { cmd: Some(vec!["sh".to_owned()]), ..Default::default() },
        host_config: HostConfig::default(),
        content: Content::Layers { lower: vec!["/layer".into()] },
        user: User::default(),
        demand: 0,
        status: Status::Created,
        pid: None,
        started: None,
        finished: None,
        exit_code: Some(0),
        oom_killed: false,
        error: String::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        inherited: Vec::new(),
        health: None,
        restarts: crate::healing::restart::Restarts::default(),
        restart_on_unhealthy: false,
    }
}

fn spec_of(edit: impl FnOnce(&mut Record)) -> Result<Spec> {
    let mut record = record(Isolation::Linux);
    edit(&mut record);
    Ok(workload(&record, Path::new("/c"), Joined::SUPPOSED)?.spec)
}

fn namespaces_of(edit: impl FnOnce(&mut Record)) -> Vec<LinuxNamespaceType> {
    let spec = spec_of(edit).unwrap();
    let linux = spec.linux().clone().unwrap();
    linux.namespaces().clone().unwrap().iter().map(|namespace| namespace.typ()).collect()
}

#[test]
fn the_environment_begins_with_docker_s_defaults_and_the_request_wins() {
    let spec = spec_of(|record| {
        record.config.tty = Some(true);
        record.config.env = Some(vec!["PATH=/bin".to_owned(), "A=1".to_owned()]);
    });
    let process = spec.unwrap().process().clone().unwrap();
    assert_eq!(process.env().clone().unwrap(), ["PATH=/bin", "HOSTNAME=abababababab", "TERM=xterm", "HOME=/", "A=1"]);
    assert_eq!(process.terminal(), Some(true));
}

#[test]
fn only_root_holds_capabilities_and_four_of_docker_s_are_gone() {
    let caps = |uid| {
        spec_of(|record| record.user.uid = uid).unwrap().process().clone().unwrap().capabilities().clone().unwrap()
    };
    let root = caps(0);
    assert_eq!(root.effective().clone().unwrap().len(), 10);
    for gone in [Capability::Mknod, Capability::NetRaw, Capability::AuditWrite, Capability::Setfcap] {
        assert!(!root.bounding().clone().unwrap().contains(&gone), "{gone}");
    }
    assert!(root.inheritable().clone().unwrap().is_empty() && root.ambient().clone().unwrap().is_empty());
    let other = caps(33);
    assert!(other.effective().clone().unwrap().is_empty() && !other.bounding().clone().unwrap().is_empty());
}

#[test]
fn capabilities_are_added_and_dropped_by_either_name() {
    let spec = spec_of(|record| {
        record.host_config.cap_drop = Some(vec!["ALL".to_owned()]);
        record.host_config.cap_add = Some(vec!["CAP_NET_RAW".to_owned(), "chown".to_owned()]);
    });
    let caps = spec.unwrap().process().clone().unwrap().capabilities().clone().unwrap();
    assert_eq!(caps.bounding().clone().unwrap(), [Capability::NetRaw, Capability::Chown].into());
    assert!(spec_of(|record| record.host_config.cap_add = Some(vec!["NOPE".to_owned()])).is_err());
}

#[test]
fn what_is_added_wins_over_what_is_dropped_and_all_is_all() {
    let bounding = |add: &[&str], drop: &[&str]| {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let host = HostConfig { cap_add: list(add), cap_drop: list(drop), ..Default::default() };
        capabilities::chosen(&host).unwrap()
    };
    assert!(bounding(&["KILL"], &["KILL"]).contains(&Capability::Kill));
    assert_eq!(bounding(&["ALL"], &["NET_RAW"]).len(), 40);
    assert_eq!(bounding(&["CHOWN"], &["ALL"]), [Capability::Chown].into());
    assert!(bounding(&[], &["all"]).is_empty());
}

#[test]
fn a_privileged_container_has_everything_and_no_filter() {
    let spec = spec_of(|record| record.host_config.privileged = Some(true)).unwrap();
    let (process, linux) = (spec.process().clone().unwrap(), spec.linux().clone().unwrap());
    assert_eq!(process.capabilities().clone().unwrap().bounding().clone().unwrap().len(), 41);
    assert_eq!(process.no_new_privileges(), Some(false));
    assert!(linux.masked_paths().clone().unwrap().is_empty() && linux.readonly_paths().clone().unwrap().is_empty());
    assert!(linux.seccomp().is_some(), "a filter that allows everything, which is none");
}

#[test]
fn the_network_mode_and_the_isolation_choose_the_namespaces() {
    use LinuxNamespaceType::{Network, User};
    let network = |mode: &str| namespaces_of(|record| record.host_config.network_mode = Some(mode.to_owned()));
    assert!(network("none").contains(&Network) && network("default").contains(&Network));
    assert!(!network("host").contains(&Network));
    assert!(!network("none").contains(&User));
    assert!(namespaces_of(|record| record.isolation = Isolation::LinuxUserns).contains(&User));
    assert!(spec_of(|record| record.host_config.network_mode = Some("nope".to_owned())).is_err());
}

#[test]
fn binds_are_read_as_docker_reads_them() {
    let check = |text: &str, wasm, expected: Option<(&str, &str, bool)>| {
        let mut asking = record(if wasm { Isolation::Wasm } else { Isolation::Linux });
        asking.host_config.binds = Some(vec![text.to_owned()]);
        let bind = mounts::binds(&asking).ok().and_then(|binds| binds.into_iter().next());
        let found = bind.as_ref().map(|bind| (bind.source.as_str(), bind.target.as_str(), bind.read_only));
        assert_eq!(found, expected, "{text}");
    };
    check("/a:/b", false, Some(("/a", "/b", false)));
    check("/a:/b:ro,z", false, Some(("/a", "/b", true)));
    check("/a:/b/../c/", false, Some(("/a", "/c", false)));
    check("/a:.", true, Some(("/a", ".", false)));
    for refused in ["/a", "/a:b", ":/b", "/a:", "/a:/b:what", "name:/b", "/a:/", "/a:/b:ro:rw"] {
        check(refused, false, None);
    }
}

#[test]
fn cpus_become_a_quota_and_memory_has_as_much_swap() {
    let spec = spec_of(|record| {
        record.host_config.nano_cpus = Some(1_500_000_000);
        record.host_config.memory = Some(64 << 20);
        record.host_config.pids_limit = Some(7);
    });
    let resources = spec.unwrap().linux().clone().unwrap().resources().clone().unwrap();
    let cpu = resources.cpu().clone().unwrap();
    assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
    let memory = resources.memory().unwrap();
    assert_eq!((memory.limit(), memory.swap()), (Some(64 << 20), Some(128 << 20)));
    assert_eq!(resources.pids().unwrap().limit(), 7);
}

#[test]
fn nothing_is_limited_that_was_not_asked_to_be() {
    let resources = spec_of(|_| {}).unwrap().linux().clone().unwrap().resources().clone().unwrap();
    assert!(resources.cpu().is_none() && resources.memory().is_none() && resources.pids().is_none());
}

#[test]
fn the_files_of_etc_are_bound_and_a_tmpfs_is_asked_for() {
    let spec = spec_of(|record| {
        record.host_config.tmpfs = Some(HashMap::from([("/t".to_owned(), "size=1m".to_owned())]));
    });
    let targets: Vec<String> =
        spec.unwrap().mounts().clone().unwrap().iter().map(|mount| mount.destination().display().to_string()).collect();
    for wanted in
        ["/proc", "/dev", "/dev/pts", "/sys", "/dev/shm", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/t"]
    {
        assert!(targets.iter().any(|target| target == wanted), "{wanted} in {targets:?}");
    }
}

#[test]
fn a_working_directory_never_leaves_the_root() {
    for (path, clean_path) in [("", "/"), ("a", "/a"), ("/a/./b//c", "/a/b/c"), ("../../x", "/x"), ("/a/../..", "/")] {
        assert_eq!(clean("/", path), Path::new(clean_path), "{path}");
    }
}

#[test]
fn a_wasm_guest_s_environment_is_only_what_it_was_given() {
    let mut record = record(Isolation::Wasm);
    record.config.env = Some(vec!["A=1".to_owned()]);
    record.host_config.pids_limit = Some(7);
    let spec = workload(&record, Path::new("/c"), Joined::SUPPOSED).unwrap().spec;
    assert_eq!(spec.process().clone().unwrap().env().clone().unwrap(), ["A=1"]);
    assert!(spec.mounts().clone().unwrap().is_empty());
    assert!(spec.linux().clone().unwrap().resources().clone().unwrap().pids().is_none());
}
