//! Block devices. Weights are those of BFQ where the kernel has it, with the specification's own numbers; rates are a file
//! for each kind on v1, one for all on v2.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::super::setting::Setting;
use super::refused;
use crate::error::Result;

/// What the specification has for weights, by the controller it was made for.
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

pub(super) fn settings(io: &LinuxBlockIo, unified: bool) -> Result<Vec<Setting>> {
    let devices = io.weight_device().as_deref().unwrap_or_default();
    let weights = devices.iter().filter_map(|device| device.weight()).chain(given(io.weight()));
    if let Some(wrong) = weights.into_iter().find(|weight| !WEIGHTS.contains(weight)) {
        return refused("blockIO.weight", &format!("{wrong} is not between 10 and 1000"));
    }
    let leaf = given(io.leaf_weight()).is_some() || devices.iter().any(|device| given(device.leaf_weight()).is_some());
    if leaf && unified {
        return refused("blockIO.leafWeight", "cgroups v2 have no weight of leaves");
    }
    let mut settings = Vec::new();
    settings.extend(given(io.weight()).map(|value| group_weight(value, unified)));
    settings.extend(given(io.leaf_weight()).map(|value| Setting::new("blkio.leaf_weight", value)));
    for device in devices {
        let (major, minor) = (device.major(), device.minor());
        settings.extend(given(device.weight()).map(|value| device_weight(major, minor, value, unified)));
        let leaf = given(device.leaf_weight());
        settings.extend(leaf.map(|v| Setting::new("blkio.leaf_weight_device", format!("{major}:{minor} {v}"))));
    }
    settings.extend(rates(io, unified));
    Ok(settings)
}

fn group_weight(value: u16, unified: bool) -> Setting {
    if unified {
        return Setting::new("io.bfq.weight", value).or("io.weight", format!("default {}", weight(value)));
    }
    // The first went with CFQ (Linux 5.0).
    Setting::new("blkio.weight", value).or("blkio.bfq.weight", value)
}

fn device_weight(major: i64, minor: i64, value: u16, unified: bool) -> Setting {
    let line = format!("{major}:{minor} {value}");
    if unified {
        return Setting::new("io.bfq.weight", &line).or("io.weight", format!("{major}:{minor} {}", weight(value)));
    }
    Setting::new("blkio.weight_device", &line).or("blkio.bfq.weight_device", &line)
}

/// A weight of 10 to 1000 as one of 1 to 10000, where v2 weighs by cost and not by BFQ.
pub(in super::super) fn weight(weight: u16) -> u32 {
    1 + (u32::from(weight.clamp(*WEIGHTS.start(), *WEIGHTS.end())) - 10) * 9999 / 990
}

fn rates(io: &LinuxBlockIo, unified: bool) -> Vec<Setting> {
    let kinds: [(&Option<Vec<LinuxThrottleDevice>>, &str, &str); 4] = [
        (io.throttle_read_bps_device(), "blkio.throttle.read_bps_device", "rbps"),
        (io.throttle_write_bps_device(), "blkio.throttle.write_bps_device", "wbps"),
        (io.throttle_read_iops_device(), "blkio.throttle.read_iops_device", "riops"),
        (io.throttle_write_iops_device(), "blkio.throttle.write_iops_device", "wiops"),
    ];
    let all = kinds.iter().flat_map(|(devices, file, key)| {
        devices.iter().flatten().map(move |device| {
            let (major, minor, rate) = (device.major(), device.minor(), device.rate());
            if !unified {
                return Setting::new(*file, format!("{major}:{minor} {rate}"));
            }
            // v1 takes 0 for no bound.
            let rate = if rate == 0 { "max".to_owned() } else { rate.to_string() };
            Setting::new("io.max", format!("{major}:{minor} {key}={rate}"))
        })
    });
    all.collect()
}

fn given(weight: Option<u16>) -> Option<u16> {
    weight.filter(|weight| *weight != 0)
}
