//! Bodies of `POST /containers/create`, through the checks and down to the runtime's specification: what is accepted has
//! absolute paths without `..`, an environment of `NAME=value`, and no zero byte in any word.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use proa::spec::namespaces::Joined;
use proa::state::Record;
use proa::{api, checks, request, spec};

fuzz_target!(|bytes: &[u8]| {
    let Ok(asked) = api::read_create("name=x", bytes) else { return };
    let Ok(config) = request::merge(&Default::default(), &asked.config) else { return };
    for isolation in ["linux", "linux-userns", "wasm-process"] {
        let content = match isolation {
            "wasm-process" => {
                serde_json::json!({ "module": { "folder": "/c", "kind": "command", "imports": [], "files": null } })
            }
            _ => serde_json::json!({ "layers": { "lower": ["/layer"] } }),
        };
        let record = serde_json::json!({
            "id": "ab".repeat(32), "name": "x", "created": 0, "image": "i", "image_id": "", "manifest": "",
            "tenant": "default", "isolation": isolation, "config": config, "host_config": asked.host_config,
            "content": content, "user": { "uid": 0, "gid": 0, "groups": [], "home": null }, "demand": 0,
            "status": "created", "pid": null, "started": null, "finished": null, "exit_code": 0, "oom_killed": false,
            "error": "", "ports": [],
        });
        // A record that is written must be one that can be read.
        let mut record: Record = serde_json::from_value(record).expect("a record of such fields is one");
        let checked = checks::check(&mut record, &Default::default());
        let Ok(workload) = spec::workload(&record, Path::new("/folder"), Joined::SUPPOSED) else {
            assert!(checked.is_err(), "what passes the checks can be lowered");
            continue;
        };
        if checked.is_ok() {
            sound(&workload.spec, isolation);
        }
    }
});

fn sound(spec: &impl serde::Serialize, isolation: &str) {
    let spec = serde_json::to_value(spec).expect("a specification is JSON");
    let clean =
        |path: &str| path.starts_with('/') && !Path::new(path).components().any(|part| part == Component::ParentDir);
    let process = &spec["process"];
    assert!(clean(process["cwd"].as_str().unwrap_or("/")), "{process}");
    for word in process["args"].as_array().into_iter().flatten().chain(process["env"].as_array().into_iter().flatten())
    {
        assert!(!word.as_str().unwrap_or_default().contains('\0'), "{word:?}");
    }
    for entry in process["env"].as_array().into_iter().flatten() {
        assert!(entry.as_str().is_some_and(|entry| entry.contains('=') && !entry.starts_with('=')), "{entry}");
    }
    if isolation != "wasm-process" {
        for mount in spec["mounts"].as_array().into_iter().flatten() {
            assert!(clean(mount["destination"].as_str().unwrap_or_default()), "{mount}");
        }
    }
}
