//! User namespaces: who is whom, inside and outside.

use std::fs;

use libtest_mimic::Failed;
use serde_json::json;

use super::Case;
use super::bundle::Bundle;
use super::namespaces::{confine, pid};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("users and groups have ranges of their own", ranges),
    ("as many ranges as the kernel takes are mapped", many),
    ("a user who is not mapped is refused by the field", unmapped),
];

fn ranges(bundle: &mut Bundle) -> Result<(), Failed> {
    confine(bundle);
    let range =
        |inside: u32, outside: u32, size: u32| json!({ "containerID": inside, "hostID": outside, "size": size });
    bundle.spec["linux"]["uidMappings"] = json!([range(0, 100_000, 10), range(10, 10, 1), range(11, 100_011, 50)]);
    bundle.spec["linux"]["gidMappings"] = json!([range(0, 200_000, 100)]);
    bundle.spec["process"]["user"] = json!({ "uid": 10, "gid": 20, "additionalGids": [30, 99] });
    bundle.started(&["sleep", "1000"])?;
    let ids = bundle.program(&["exec", &bundle.id, "sh", "-c", "id -u; id -g; id -G"])?.succeeded()?.output;
    assert_eq!(ids, "10\n20\n20 30 99\n");
    let status = fs::read_to_string(format!("/proc/{}/status", pid(bundle)?))?;
    for line in ["Uid:\t10\t10\t10\t10\n", "Gid:\t200020\t200020\t200020\t200020\n", "Groups:\t200030 200099 \n"] {
        assert!(status.contains(line), "`{line}` is not in {status}");
    }
    Ok(())
}

fn many(bundle: &mut Bundle) -> Result<(), Failed> {
    confine(bundle);
    let ranges: Vec<_> = (0..340).map(|at| json!({ "containerID": at, "hostID": at, "size": 1 })).collect();
    bundle.spec["linux"]["uidMappings"] = json!(ranges);
    bundle.spec["linux"]["gidMappings"] = json!(ranges);
    let ended = bundle.run(&["cat", "/proc/self/uid_map", "/proc/self/gid_map"])?.succeeded()?;
    assert_eq!(ended.output.lines().count(), 680, "{ended:?}");
    Ok(())
}

fn unmapped(bundle: &mut Bundle) -> Result<(), Failed> {
    confine(bundle);
    bundle.spec["process"]["user"] = json!({ "uid": 0, "gid": 65_536 });
    bundle.run(&["true"])?.refused("`process.user.gid` 65536 is not mapped in the user namespace");
    Ok(())
}
