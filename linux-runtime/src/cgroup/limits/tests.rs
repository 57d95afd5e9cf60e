use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::Layout;
use super::*;

fn hierarchy(mount: &str, controllers: &[&str], unified: bool) -> Hierarchy {
    let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
    Hierarchy { mount: PathBuf::from(mount), controllers, unified, writable: true }
}

const OLD: [&str; 9] = ["memory", "cpu", "pids", "cpuset", "blkio", "hugetlb", "net_cls", "net_prio", "rdma"];

fn v1() -> Layout {
    Layout { hierarchies: OLD.iter().map(|name| hierarchy(name, &[name], false)).collect() }
}

fn v2() -> Layout {
    let all = ["memory", "cpu", "pids", "cpuset", "io", "hugetlb", "rdma"];
    Layout { hierarchies: vec![hierarchy("", &all, true)] }
}

/// The settings as a plan prints them, or the sentence of the refusal.
fn told(layout: &Layout, resources: Value) -> String {
    let resources = serde_json::from_value(resources).unwrap();
    match lower(layout, Some(&resources)) {
        Ok(bounds) => {
            let all = bounds.iter().flat_map(|bound| &bound.settings);
            all.map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        Err(error) => error.to_string().trim_start_matches("`linux.resources.").to_owned(),
    }
}

/// What is asked, and what it is on v1 and on v2.
fn check(cases: &[(Value, &str, &str)]) {
    for (asked, old, new) in cases {
        assert_eq!(told(&v1(), asked.clone()), *old, "v1: {asked}");
        assert_eq!(told(&v2(), asked.clone()), *new, "v2: {asked}");
    }
}

#[test]
fn memory() {
    let swapless = "memory.memsw.limit_in_bytes=100 if there is such a file";
    check(&[
        (json!({ "memory": { "limit": 100 } }), "memory.limit_in_bytes=100", "memory.max=100"),
        (
            json!({ "memory": { "limit": 100, "swap": 300 } }),
            "memory.limit_in_bytes=100, memory.memsw.limit_in_bytes=300",
            "memory.max=100, memory.swap.max=200",
        ),
        (
            json!({ "memory": { "limit": 100, "swap": 100 } }),
            &format!("memory.limit_in_bytes=100, {swapless}"),
            "memory.max=100, memory.swap.max=0 if there is such a file",
        ),
        (
            json!({ "memory": { "limit": -1 } }),
            "memory.limit_in_bytes=-1, memory.memsw.limit_in_bytes=-1 if there is such a file",
            "memory.max=max, memory.swap.max=max if there is such a file",
        ),
        (
            json!({ "memory": { "limit": 300, "swap": 100 } }),
            "memory.limit_in_bytes=300, memory.memsw.limit_in_bytes=100",
            "memory.swap`: it counts memory and swap together, so that it may not be below `memory.limit`",
        ),
        (
            json!({ "memory": { "swap": 100 } }),
            "memory.memsw.limit_in_bytes=100",
            "memory.swap`: it counts memory and swap together, so that it needs `memory.limit` too",
        ),
        (json!({ "memory": { "reservation": 50 } }), "memory.soft_limit_in_bytes=50", "memory.low=50"),
        (
            json!({ "memory": { "swappiness": 0 } }),
            "memory.swappiness=0",
            "memory.swappiness`: cgroups v2 have no swappiness of their own",
        ),
        (
            json!({ "memory": { "disableOOMKiller": true } }),
            "memory.oom_control=1",
            "memory.disableOOMKiller`: cgroups v2 cannot disable the OOM killer",
        ),
        (
            json!({ "memory": { "kernelTCP": 70 } }),
            "memory.kmem.tcp.limit_in_bytes=70",
            "memory.kernelTCP`: cgroups v2 bound such memory with all other",
        ),
        (
            json!({ "memory": { "kernel": 70 } }),
            "memory.kernel`: Linux bounds no kernel memory by itself any more",
            "memory.kernel`: Linux bounds no kernel memory by itself any more",
        ),
        (json!({ "memory": { "kernel": -1, "useHierarchy": true } }), "memory.use_hierarchy=1", ""),
        (
            json!({ "memory": { "useHierarchy": false } }),
            "memory.useHierarchy`: every group is bounded by those above it since Linux 5.11",
            "memory.useHierarchy`: every group is bounded by those above it since Linux 5.11",
        ),
    ]);
}

#[test]
fn cpu() {
    check(&[
        (json!({ "cpu": { "shares": 1024 } }), "cpu.shares=1024", "cpu.weight=100"),
        (json!({ "cpu": { "shares": 2 } }), "cpu.shares=2", "cpu.weight=1"),
        (json!({ "cpu": { "shares": 262_144 } }), "cpu.shares=262144", "cpu.weight=10000"),
        (json!({ "cpu": { "shares": 300_000 } }), "cpu.shares`: they are 2 to 262144", "cpu.weight=10000"),
        (json!({ "cpu": { "quota": 5000 } }), "cpu.cfs_quota_us=5000", "cpu.max=5000"),
        (
            json!({ "cpu": { "quota": 5000, "period": 10_000, "burst": 2000 } }),
            "cpu.cfs_period_us=10000, cpu.cfs_burst_us=2000, cpu.cfs_quota_us=5000",
            "cpu.max=5000 10000, cpu.max.burst=2000",
        ),
        (json!({ "cpu": { "period": 10_000 } }), "cpu.cfs_period_us=10000", "cpu.max=max 10000"),
        (
            json!({ "cpu": { "quota": 5000, "burst": 5001 } }),
            "cpu.burst`: it may not be above `cpu.quota`",
            "cpu.burst`: it may not be above `cpu.quota`",
        ),
        (json!({ "cpu": { "idle": 1, "shares": 512 } }), "cpu.shares=512, cpu.idle=1", "cpu.weight=59, cpu.idle=1"),
        (
            json!({ "cpu": { "realtimeRuntime": 950_000, "realtimePeriod": 1_000_000 } }),
            "cpu.rt_period_us=1000000, cpu.rt_runtime_us=950000",
            "cpu.realtimeRuntime`: cgroups v2 do not bound realtime processes",
        ),
        (
            json!({ "cpu": { "cpus": "0-1", "mems": "0" } }),
            "cpuset.cpus=0-1, cpuset.mems=0",
            "cpuset.cpus=0-1, cpuset.mems=0",
        ),
    ]);
}

#[test]
fn block_devices() {
    let device = json!([{ "major": 8, "minor": 0, "rate": 600 }]);
    check(&[
        (
            json!({ "blockIO": { "weight": 10 } }),
            "blkio.weight=10 or blkio.bfq.weight=10",
            "io.bfq.weight=10 or io.weight=default 1",
        ),
        (
            json!({ "blockIO": { "weightDevice": [{ "major": 8, "minor": 16, "weight": 1000 }] } }),
            "blkio.weight_device=8:16 1000 or blkio.bfq.weight_device=8:16 1000",
            "io.bfq.weight=8:16 1000 or io.weight=8:16 10000",
        ),
        (
            json!({ "blockIO": { "weight": 5 } }),
            "blockIO.weight`: 5 is not between 10 and 1000",
            "blockIO.weight`: 5 is not between 10 and 1000",
        ),
        (
            json!({ "blockIO": { "leafWeight": 10 } }),
            "blkio.leaf_weight=10",
            "blockIO.leafWeight`: cgroups v2 have no weight of leaves",
        ),
        (
            json!({ "blockIO": { "throttleReadBpsDevice": device } }),
            "blkio.throttle.read_bps_device=8:0 600",
            "io.max=8:0 rbps=600",
        ),
        (
            json!({ "blockIO": { "throttleWriteIOPSDevice": [{ "major": 8, "minor": 0, "rate": 0 }] } }),
            "blkio.throttle.write_iops_device=8:0 0",
            "io.max=8:0 wiops=max",
        ),
    ]);
}

#[test]
fn huge_pages_devices_of_networks_and_tasks() {
    check(&[
        (
            json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4096 }] }),
            "hugetlb.2MB.limit_in_bytes=4096, hugetlb.2MB.rsvd.limit_in_bytes=4096 if there is such a file",
            "hugetlb.2MB.max=4096, hugetlb.2MB.rsvd.max=4096 if there is such a file",
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "../2MB", "limit": 4096 }] }),
            "hugepageLimits`: `../2MB` is no page size such as `2MB`",
            "hugepageLimits`: `../2MB` is no page size such as `2MB`",
        ),
        (
            json!({ "network": { "classID": 1_048_577, "priorities": [{ "name": "eth0", "priority": 5 }] } }),
            "net_cls.classid=1048577, net_prio.ifpriomap=eth0 5",
            "network.classID`: no cgroup of the controller `net_cls` can be made here by this user",
        ),
        (
            json!({ "network": { "priorities": [{ "name": "a 1\nb", "priority": 5 }] } }),
            "network.priorities`: `a 1\nb` is no interface",
            "network.priorities`: `a 1\nb` is no interface",
        ),
        (
            json!({ "rdma": { "mlx5_1": { "hcaHandles": 3, "hcaObjects": 10 }, "mlx4_0": { "hcaObjects": 9 } } }),
            "rdma.max=mlx4_0 hca_object=9, rdma.max=mlx5_1 hca_handle=3 hca_object=10",
            "rdma.max=mlx4_0 hca_object=9, rdma.max=mlx5_1 hca_handle=3 hca_object=10",
        ),
        (json!({ "pids": { "limit": 7 } }), "pids.max=7", "pids.max=7"),
        (
            json!({ "pids": { "limit": -1 } }),
            "pids.max=max if there is such a file",
            "pids.max=max if there is such a file",
        ),
    ]);
}

#[test]
fn files_of_v2_by_their_own_names() {
    let v1_has_none = "unified`: `memory.high` needs the controller `memory` of cgroups v2, which is not here";
    check(&[
        (json!({ "unified": { "memory.high": "1000" } }), v1_has_none, "memory.high=1000"),
        (
            json!({ "unified": { "misc.max": "1" } }),
            "unified`: `misc.max` needs the controller `misc` of cgroups v2, which is not here",
            "unified`: `misc.max` needs the controller `misc` of cgroups v2, which is not here",
        ),
        (
            json!({ "unified": { "../memory.max": "1" } }),
            "unified`: `../memory.max` is no file of a group",
            "unified`: `../memory.max` is no file of a group",
        ),
        (
            json!({ "unified": { "cgroup.procs": "1" } }),
            "unified`: `cgroup.procs` bounds nothing",
            "unified`: `cgroup.procs` bounds nothing",
        ),
    ]);
}

#[test]
fn an_ordinary_user_is_told_what_cannot_be_held() {
    let nobody = Layout { hierarchies: Vec::new() };
    let sentence = "memory`: no cgroup of the controller `memory` can be made here by this user";
    assert_eq!(told(&nobody, json!({ "memory": { "limit": 5 } })), sentence);
    assert_eq!(told(&nobody, json!({ "pids": { "limit": -1 } })), "", "no bound is no loss");
}

#[test]
fn weights_of_processors_are_on_the_curve_of_the_others() {
    let pairs = [(0, 1), (2, 1), (3, 2), (10, 4), (100, 17), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000)];
    for (shares, wanted) in pairs {
        assert_eq!(cpu::weight(shares), wanted, "{shares}");
    }
}
