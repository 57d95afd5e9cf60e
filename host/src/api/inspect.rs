//! `GET /containers/{id}/json`.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_stubs::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, DriverData, EndpointSettings, MountPoint,
    MountType, NetworkSettings, PortBinding, PortMap,
};
use serde_json::{Value, json};

use crate::api::call::Call;
use crate::api::health::health;
use crate::api::list::network_mode;
use crate::api::reply::{Answer, Failure, ok};
use crate::host::Host;
use crate::network::Mode;
use crate::request::arguments;
use crate::spec;
use crate::state::{Container, Record, Status};
use crate::timestamp::{ZERO, rfc3339_nanos};

/// All there is to know of a container.
pub(crate) async fn inspect(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    let record = container.record();
    let response = response(host, &container, &record);
    let value =
        serde_json::to_value(&response).map_err(|error| Failure::bad_request(format!("write the answer: {error}")))?;
    let mut value = finish(value, &record);
    if let Some(known) = container.health() {
        value["State"]["Health"] = health(&known);
    }
    if call.query.truth("size") {
        let size = host.size_of(&container).await?;
        value["SizeRw"] = json!(size.written);
        value["SizeRootFs"] = json!(size.whole());
    }
    ok(&value)
}

fn response(host: &Host, container: &Container, record: &Record) -> ContainerInspectResponse {
    let folder = container.folder();
    let file = |name: &str| {
        if record.isolation.is_wasm() { String::new() } else { folder.join(name).to_string_lossy().into_owned() }
    };
    let mut words = arguments(&record.config).into_iter();
    let execs = host.execs.of(container.id());
    let mut config = record.config.clone();
    config.hostname = Some(spec::hostname(record));
    config.image = Some(record.image.clone());
    let mut host_config = record.host_config.clone();
    host_config.network_mode = Some(network_mode(record));
    ContainerInspectResponse {
        id: Some(record.id.clone()),
        created: Some(rfc3339_nanos(record.created)),
        path: Some(words.next().unwrap_or_default()),
        args: Some(words.collect()),
        state: Some(state(record)),
        image: Some(record.image_id.clone()),
        resolv_conf_path: Some(file("resolv.conf")),
        hostname_path: Some(file("hostname")),
        hosts_path: Some(file("hosts")),
        log_path: Some(container.log().path().to_string_lossy().into_owned()),
        name: Some(format!("/{}", record.name)),
        restart_count: Some(record.restarts.count.cast_signed()),
        driver: Some("overlayfs".to_owned()),
        platform: Some(if record.isolation.is_wasm() { "wasi" } else { "linux" }.to_owned()),
        image_manifest_descriptor: None,
        mount_label: Some(String::new()),
        process_label: Some(String::new()),
        app_armor_profile: Some(String::new()),
        exec_ids: (!execs.is_empty()).then_some(execs),
        host_config: Some(host_config),
        graph_driver: Some(DriverData { name: "overlayfs".to_owned(), data: HashMap::new() }),
        storage: None,
        size_rw: None,
        size_root_fs: None,
        mounts: Some(mount_points(record)),
        config: Some(config),
        network_settings: Some(NetworkSettings {
            sandbox_id: Some(String::new()),
            sandbox_key: Some(String::new()),
            ports: Some(port_map(record)),
            networks: Some(endpoints(record)),
        }),
    }
}

fn state(record: &Record) -> ContainerState {
    let time = |time: Option<u64>| Some(time.map_or_else(|| ZERO.to_owned(), rfc3339_nanos));
    ContainerState {
        status: Some(match record.status {
            Status::Created => ContainerStateStatusEnum::CREATED,
            Status::Running => ContainerStateStatusEnum::RUNNING,
            Status::Paused => ContainerStateStatusEnum::PAUSED,
            Status::Restarting => ContainerStateStatusEnum::RESTARTING,
            Status::Exited => ContainerStateStatusEnum::EXITED,
            Status::Removing => ContainerStateStatusEnum::REMOVING,
            Status::Dead => ContainerStateStatusEnum::DEAD,
        }),
        // As dockerd: what waits for its next run counts as running.
        running: Some(record.status.is_active()),
        paused: Some(record.status == Status::Paused),
        restarting: Some(record.status == Status::Restarting),
        oom_killed: Some(record.oom_killed),
        dead: Some(record.status == Status::Dead),
        pid: Some(record.pid.map_or(0, i64::from)),
        // 255 stands for a code nobody knows; `Error` says so.
        exit_code: Some(record.exit_code.map_or(255, i64::from)),
        error: Some(record.error.clone()),
        started_at: time(record.started),
        finished_at: time(record.finished),
        health: None,
    }
}

/// The one place where the generated types' JSON is made what dockerd writes: lists and texts that Go always writes
/// where Rust leaves out `None`, the older network fields, and our isolation, for which the type has no room.
fn finish(mut value: Value, record: &Record) -> Value {
    let fill = |target: &mut Value, defaults: Value| {
        if let (Some(target), Value::Object(defaults)) = (target.as_object_mut(), defaults) {
            for (name, default) in defaults {
                target.entry(name).or_insert(default);
            }
        }
    };
    fill(&mut value, json!({ "ExecIDs": null }));
    fill(
        &mut value["Config"],
        json!({ "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
            "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": [], "Cmd": null,
            "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null, "OnBuild": null, "Labels": {} }),
    );
    fill(
        &mut value["HostConfig"],
        json!({ "Binds": null, "ContainerIDFile": "", "LogConfig": { "Type": "json-file", "Config": {} },
            "PortBindings": {}, "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 }, "AutoRemove": false,
            "VolumeDriver": "", "VolumesFrom": null, "ConsoleSize": [0, 0], "CapAdd": null, "CapDrop": null,
            "CgroupnsMode": "private", "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": null,
            "GroupAdd": null, "IpcMode": "private", "Cgroup": "", "Links": null, "OomScoreAdj": 0, "PidMode": "",
            "Privileged": false, "PublishAllPorts": false, "ReadonlyRootfs": false, "SecurityOpt": null,
            "UTSMode": "", "UsernsMode": "", "ShmSize": 67_108_864, "Runtime": "proa", "MaskedPaths": null,
            "ReadonlyPaths": null }),
    );
    fill(
        &mut value["HostConfig"],
        json!({ "CpuShares": 0, "Memory": 0,
            "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0, "BlkioWeightDevice": [], "BlkioDeviceReadBps": [],
            "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [], "CpuPeriod": 0,
            "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "",
            "Devices": [], "DeviceCgroupRules": null, "DeviceRequests": null, "MemoryReservation": 0,
            "MemorySwap": 0, "MemorySwappiness": null, "OomKillDisable": false, "PidsLimit": null, "Ulimits": [],
            "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0 }),
    );
    if value["HostConfig"]["Isolation"] != "default" {
        value["HostConfig"]["Isolation"] = json!(record.isolation.as_str());
    }
    fill(
        &mut value["NetworkSettings"],
        json!({ "Bridge": "", "HairpinMode": false, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": null, "SecondaryIPv6Addresses": null, "EndpointID": "", "Gateway": "",
            "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
            "MacAddress": "" }),
    );
    value["Proa"] = json!({ "Isolation": record.isolation.as_str(), "Tenant": record.tenant, "Demand": record.demand,
        "Manifest": record.manifest });
    value
}

/// The mounts a user asked for.
pub(crate) fn mount_points(record: &Record) -> Vec<MountPoint> {
    let binds = spec::mounts::binds(record).unwrap_or_default();
    let volumes = record.volumes.iter().map(|volume| MountPoint {
        typ: Some("volume".to_owned()),
        name: Some(volume.name.clone()),
        source: Some(volume.data.to_string_lossy().into_owned()),
        destination: Some(volume.target.clone()),
        driver: Some("local".to_owned()),
        mode: Some(if volume.mode.is_empty() { "z".to_owned() } else { volume.mode.clone() }),
        rw: Some(!volume.read_only),
        propagation: Some(String::new()),
    });
    let binds = binds.into_iter().map(|bind| MountPoint {
        typ: Some("bind".to_owned()),
        source: Some(bind.source),
        destination: Some(bind.target),
        mode: Some(bind.mode),
        rw: Some(!bind.read_only),
        propagation: Some(bind.propagation),
        ..Default::default()
    });
    let in_memory = record.host_config.mounts.iter().flatten().filter(|mount| mount.typ == Some(MountType::TMPFS));
    // As dockerd: a tmpfs of `--mount` is listed, one of `--tmpfs` stands in HostConfig alone.
    let in_memory = in_memory.map(|mount| MountPoint {
        typ: Some("tmpfs".to_owned()),
        source: Some(String::new()),
        destination: mount.target.clone(),
        mode: Some(String::new()),
        rw: Some(mount.read_only != Some(true)),
        propagation: Some(String::new()),
        ..Default::default()
    });
    binds.chain(volumes).chain(in_memory).collect()
}

/// The network it is in; one that has no addresses yet.
pub(crate) fn endpoints(record: &Record) -> HashMap<String, EndpointSettings> {
    let mode = Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default());
    let empty = || Some(String::new());
    let endpoint = EndpointSettings {
        network_id: empty(),
        endpoint_id: empty(),
        gateway: empty(),
        ip_address: empty(),
        ip_prefix_len: Some(0),
        ipv6_gateway: empty(),
        global_ipv6_address: empty(),
        global_ipv6_prefix_len: Some(0),
        mac_address: empty(),
        ..Default::default()
    };
    HashMap::from([(mode.unwrap_or(Mode::Bridge).network().to_owned(), endpoint)])
}

fn port_map(record: &Record) -> PortMap {
    let mut map = PortMap::new();
    for port in &record.ports {
        let binding = PortBinding { host_ip: Some(port.address.to_string()), host_port: Some(port.port.to_string()) };
        map.entry(format!("{}/tcp", port.container_port)).or_default().get_or_insert_default().push(binding);
    }
    map
}
