//! Remote direct memory access: handles and objects of each device, the same file in both versions.

use std::collections::HashMap;

use oci_spec::runtime::LinuxRdma;

use super::super::setting::Setting;

pub(super) fn settings(devices: &HashMap<String, LinuxRdma>) -> Vec<Setting> {
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    let line = |(name, rdma): (&String, &LinuxRdma)| {
        let mut line = name.clone();
        for (key, count) in [("hca_handle", rdma.hca_handles()), ("hca_object", rdma.hca_objects())] {
            line.extend(count.map(|count| format!(" {key}={count}")));
        }
        Setting::new("rdma.max", line)
    };
    devices.into_iter().map(line).collect()
}
