//! Huge pages: what is reserved, where the kernel accounts that, and what is used.

use oci_spec::runtime::LinuxHugepageLimit;

use super::super::setting::Setting;
use super::refused;
use crate::error::Result;

pub(super) fn settings(limits: &[LinuxHugepageLimit], unified: bool) -> Result<Vec<Setting>> {
    let suffix = if unified { "max" } else { "limit_in_bytes" };
    let mut settings = Vec::new();
    for limit in limits {
        let (size, bytes) = (limit.page_size(), limit.limit());
        if !is_size(size) {
            return refused("hugepageLimits", &format!("`{size}` is no page size such as `2MB`"));
        }
        settings.push(Setting::new(format!("hugetlb.{size}.{suffix}"), bytes));
        // Reservations are accounted since Linux 5.7; the specification asks for them where they are.
        settings.push(Setting::new(format!("hugetlb.{size}.rsvd.{suffix}"), bytes).passed_if(true));
    }
    Ok(settings)
}

/// `64KB`, `2MB`, `1GB`: it becomes part of a file's name.
fn is_size(text: &str) -> bool {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
