//! The node and this host.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use bollard_stubs::models::{
    Commit, PluginsInfo, RegistryServiceConfig, Runtime, SystemInfo, SystemInfoCgroupDriverEnum,
    SystemInfoCgroupVersionEnum, SystemInfoIsolationEnum, SystemVersion, SystemVersionComponents,
    SystemVersionPlatform,
};
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::api::body::Body;
use crate::api::reply::{Answer, ok, with_type};
use crate::api::{OLDEST, VERSION};
use crate::host::Host;
use crate::logging::DRIVERS;
use crate::state::Status;
use crate::timestamp::rfc3339;

const OURS: &str = env!("CARGO_PKG_VERSION");

/// `GET` and `HEAD /_ping`.
pub(crate) fn ping() -> Answer {
    let mut response = with_type(StatusCode::OK, "text/plain; charset=utf-8", Body::from(b"OK".to_vec()));
    let headers = response.headers_mut();
    headers.insert("cache-control", hyper::header::HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert("pragma", hyper::header::HeaderValue::from_static("no-cache"));
    headers.insert("builder-version", hyper::header::HeaderValue::from_static("1"));
    headers.insert("swarm", hyper::header::HeaderValue::from_static("inactive"));
    Ok(response)
}

/// `GET /version`.
pub(crate) fn version() -> Answer {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let (newest, oldest) = (spoken(VERSION), spoken(OLDEST));
    let details = HashMap::from([
        ("ApiVersion".to_owned(), newest.clone()),
        ("Arch".to_owned(), architecture().to_owned()),
        ("Experimental".to_owned(), "false".to_owned()),
        ("KernelVersion".to_owned(), kernel.clone()),
        ("MinAPIVersion".to_owned(), oldest.clone()),
        ("Os".to_owned(), "linux".to_owned()),
    ]);
    let component =
        SystemVersionComponents { name: "proa".to_owned(), version: OURS.to_owned(), details: Some(details) };
    ok(&SystemVersion {
        platform: Some(SystemVersionPlatform { name: "proa".to_owned() }),
        components: Some(vec![component]),
        version: Some(OURS.to_owned()),
        api_version: Some(newest),
        min_api_version: Some(oldest),
        git_commit: Some(String::new()),
        go_version: Some(String::new()),
        os: Some("linux".to_owned()),
        arch: Some(architecture().to_owned()),
        kernel_version: Some(kernel),
        experimental: Some(false),
        build_time: Some(String::new()),
    })
}

/// `GET /info`, with what each isolation lacks here under `Proa`.
pub(crate) async fn info(host: &Arc<Host>) -> Answer {
    let images = host.images.list().await?.len();
    let availability = host.availability().await?;
    let mut value = serde_json::to_value(system_info(host, images)).unwrap_or_default();
    let isolations: Vec<Value> = availability
        .iter()
        .map(|found| json!({ "Isolation": found.isolation.as_str(), "Lacks": found.lacks }))
        .collect();
    let (capacity, reserved) = host.account();
    value["Proa"] = json!({ "Isolation": isolations, "CapacityMemory": capacity, "ReservedMemory": reserved });
    value["Warnings"] = json!(host.warnings());
    value["Swarm"] = json!({ "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false,
        "Error": "", "RemoteManagers": null });
    // Go writes these where the generated type leaves out `None`.
    for name in ["GenericResources", "CDISpecDirs", "RegistryConfig"] {
        if value.get(name).is_none() {
            value[name] = Value::Null;
        }
    }
    ok(&value)
}

fn system_info(host: &Host, images: usize) -> SystemInfo {
    let containers = host.containers.all();
    let count = |wanted: Option<Status>| {
        let fits = |status: Status| wanted.is_none_or(|wanted| wanted == status);
        Some(containers.iter().filter(|container| fits(container.status())).count() as i64)
    };
    let uname = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    let total = u64::from(memory.mem_unit).saturating_mul(memory.totalram);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as i64;
    let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let (name, version) = os_release();
    let paused = count(Some(Status::Paused));
    // As dockerd: what waits for its next run counts as running.
    let running = count(Some(Status::Running)).zip(count(Some(Status::Restarting))).map(|(runs, waits)| runs + waits);
    SystemInfo {
        id: Some(host.id.clone()),
        containers: count(None),
        containers_running: running,
        containers_paused: paused,
        containers_stopped: count(None).zip(running).zip(paused).map(|((all, running), paused)| all - running - paused),
        images: Some(images as i64),
        driver: Some("overlayfs".to_owned()),
        driver_status: Some(vec![vec!["driver-type".to_owned(), "oci-image-layout".to_owned()]]),
        docker_root_dir: Some(host.root().to_string_lossy().into_owned()),
        plugins: Some(PluginsInfo {
            volume: Some(vec!["local".to_owned()]),
            network: Some(vec!["bridge".to_owned(), "host".to_owned(), "null".to_owned()]),
            authorization: None,
            log: Some(DRIVERS.map(str::to_owned).to_vec()),
        }),
        memory_limit: Some(true),
        swap_limit: Some(true),
        cpu_cfs_period: Some(true),
        cpu_cfs_quota: Some(true),
        cpu_shares: Some(true),
        cpu_set: Some(true),
        pids_limit: Some(true),
        oom_kill_disable: Some(false),
        ipv4_forwarding: Some(false),
        debug: Some(false),
        nfd: Some(std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as i64)),
        n_goroutines: Some(0),
        system_time: Some(rfc3339(SystemTime::now())),
        logging_driver: Some(DRIVERS[0].to_owned()),
        cgroup_driver: Some(SystemInfoCgroupDriverEnum::CGROUPFS),
        cgroup_version: Some(if unified { SystemInfoCgroupVersionEnum::_2 } else { SystemInfoCgroupVersionEnum::_1 }),
        n_events_listener: Some(host.events.listeners() as i64),
        kernel_version: Some(uname.release().to_string_lossy().into_owned()),
        operating_system: Some(name),
        os_version: Some(version),
        os_type: Some("linux".to_owned()),
        architecture: Some(uname.machine().to_string_lossy().into_owned()),
        ncpu: Some(cores),
        mem_total: i64::try_from(total).ok(),
        index_server_address: Some("https://index.docker.io/v1/".to_owned()),
        registry_config: Some(RegistryServiceConfig {
            insecure_registry_cidrs: Some(vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()]),
            index_configs: Some(HashMap::new()),
            mirrors: Some(vec![]),
        }),
        http_proxy: Some(String::new()),
        https_proxy: Some(String::new()),
        no_proxy: Some(String::new()),
        name: Some(uname.nodename().to_string_lossy().into_owned()),
        labels: Some(vec![]),
        experimental_build: Some(false),
        server_version: Some(OURS.to_owned()),
        runtimes: Some(HashMap::from([(
            "proa".to_owned(),
            Runtime { path: Some("proa".to_owned()), runtime_args: None, status: None },
        )])),
        default_runtime: Some("proa".to_owned()),
        swarm: None,
        live_restore_enabled: Some(true),
        isolation: Some(SystemInfoIsolationEnum::EMPTY),
        init_binary: Some(String::new()),
        containerd_commit: Some(Commit { id: Some(String::new()) }),
        runc_commit: Some(Commit { id: Some(String::new()) }),
        init_commit: Some(Commit { id: Some(String::new()) }),
        security_options: Some(vec!["name=seccomp,profile=builtin".to_owned(), "name=cgroupns".to_owned()]),
        ..Default::default()
    }
}

fn spoken(version: (u32, u32)) -> String {
    format!("{}.{}", version.0, version.1)
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The node's distribution and its version, as os-release(5) tells.
fn os_release() -> (String, String) {
    let text = std::fs::read_to_string("/etc/os-release").or_else(|_| std::fs::read_to_string("/usr/lib/os-release"));
    let text = text.unwrap_or_default();
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches('"').to_owned())
    };
    (field("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()), field("VERSION_ID").unwrap_or_default())
}
