//! Files of v2 by their own names. What the runtime does not know is written all the same, as the specification says.

use std::collections::HashMap;

use super::super::Layout;
use super::super::setting::Setting;
use super::refused;
use crate::error::Result;

/// What moves or ends processes instead of bounding them.
const NO_BOUNDS: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.kill"];

/// Each with its controller, in the order of their names.
pub(super) fn settings(files: &HashMap<String, String>) -> Result<Vec<(String, Setting)>> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort();
    let mut settings = Vec::new();
    for (file, value) in files {
        if file.contains('/') || file.contains('\0') || !file.contains('.') || file.starts_with('.') {
            return refused("unified", &format!("`{file}` is no file of a group"));
        }
        if NO_BOUNDS.contains(&&**file) {
            return refused("unified", &format!("`{file}` bounds nothing"));
        }
        let controller = file.split('.').next().unwrap_or_default().to_owned();
        settings.push((controller, Setting::new(file, value)));
    }
    Ok(settings)
}

/// `cgroup` is no controller: its files are in every group.
pub(super) fn can_hold(layout: &Layout, controller: &str) -> bool {
    let v2 = |name: &str| layout.with(name).is_some_and(|hierarchy| hierarchy.unified);
    v2(controller) || controller == "cgroup" && v2("pids")
}
