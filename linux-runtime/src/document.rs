//! config.json and process.json as types. What the types cannot hold, though the specification or other runtimes take it,
//! is left out with a warning or put into their words.

use oci_spec::runtime::{Mount, Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::plan::{CAPABILITY_NAMES, mount_options};

const SETS: [&str; 5] = ["bounding", "effective", "permitted", "inheritable", "ambient"];

/// Flags of schedulers as the specification calls them, and as the types do.
const FLAGS: [(&str, &str); 3] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
    ("SCHED_FLAG_DLOVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// A container's specification, and warnings of what was left out of it.
///
/// # Errors
/// Where the text is none.
pub fn read_container(text: &[u8]) -> serde_json::Result<(Spec, Vec<String>)> {
    let (mut spec, mut warnings) = read(text, "/process")?;
    leave_out(&mut spec, &mut warnings);
    Ok((spec, warnings))
}

/// One more process's part of it.
///
/// # Errors
/// Where the text is none.
pub fn read_process(text: &[u8]) -> serde_json::Result<(Process, Vec<String>)> {
    read(text, "")
}

/// What engines ask by habit and no kernel gives. Other runtimes pass over it in silence, so that a refusal would stop
/// containers that run everywhere else.
fn leave_out(spec: &mut Spec, warnings: &mut Vec<String>) {
    let memory = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()?.memory().as_ref());
    if memory.and_then(|memory| memory.kernel()).is_some_and(|limit| limit > 0) {
        // NOT RECOMMENDED (config-linux.md, "Memory"); Linux refuses it since 5.16 and passes over it since 6.2.
        warnings
            .push("`linux.resources.memory.kernel` is left out: Linux bounds no kernel memory by itself".to_owned());
        let memory = spec.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut()?.memory_mut().as_mut());
        memory.map(|memory| memory.set_kernel(None));
    }
    let known = mount_options();
    for mount in spec.mounts_mut().iter_mut().flatten().filter(|mount| is_bind(mount)) {
        let destination = mount.destination().display().to_string();
        let (kept, left): (Vec<String>, Vec<String>) =
            mount.options().iter().flatten().cloned().partition(|word| word.is_empty() || known.contains(word));
        let line = |word: &String| {
            format!(
                "mount option `{word}` of the bind mount at `{destination}` is left out: there is nothing that takes it"
            )
        };
        warnings.extend(left.iter().map(line));
        if !left.is_empty() {
            mount.set_options(Some(kept));
        }
    }
}

/// Whether a mount shows what is mounted elsewhere.
pub fn is_bind(mount: &Mount) -> bool {
    let words = mount.options().iter().flatten();
    mount.typ().as_deref() == Some("bind") || words.into_iter().any(|word| word == "bind" || word == "rbind")
}

/// Only a document that the types do not take as it is costs a second look.
fn read<T: DeserializeOwned>(text: &[u8], process: &str) -> serde_json::Result<(T, Vec<String>)> {
    let first = match serde_json::from_slice(text) {
        Ok(document) => return Ok((document, Vec::new())),
        Err(error) => error,
    };
    let mut document: Value = serde_json::from_slice(text)?;
    let mut warnings = Vec::new();
    let amended = document.pointer_mut(process).is_some_and(|process| amend(process, &mut warnings));
    // The first error knows its line.
    if amended { Ok((serde_json::from_value(document)?, warnings)) } else { Err(first) }
}

/// Whether anything was to be amended.
fn amend(process: &mut Value, warnings: &mut Vec<String>) -> bool {
    let Some(fields) = process.as_object_mut() else { return false };
    // Root, where nobody is named (config.md, "POSIX-platform User").
    let mut amended = false;
    fields.entry("user").or_insert_with(|| {
        amended = true;
        json!({})
    });
    for set in SETS {
        let names = process.pointer_mut(&format!("/capabilities/{set}")).and_then(Value::as_array_mut);
        amended |= names.is_some_and(|names| leave_unknown_out(names, warnings));
    }
    for flag in process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some((_, name)) = FLAGS.iter().find(|(name, _)| flag == name) {
            *flag = json!(name);
            amended = true;
        }
    }
    amended
}

fn leave_unknown_out(names: &mut Vec<Value>, warnings: &mut Vec<String>) -> bool {
    let before = names.len();
    names.retain(|name| {
        let Some(text) = name.as_str() else { return true };
        let upper = text.to_uppercase();
        let known = CAPABILITY_NAMES.contains(&upper.trim_start_matches("CAP_"));
        let warning = format!("capability `{text}` is unknown and is left out");
        if !known && !warnings.contains(&warning) {
            warnings.push(warning);
        }
        known
    });
    names.len() != before
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxSchedulerFlag;
    use serde_json::json;

    use super::{read_container, read_process};

    #[test]
    fn unknown_capabilities_are_left_out_once_told() {
        let sets = json!({ "bounding": ["CAP_KILL", "CAP_FLY"], "effective": ["CAP_FLY"], "permitted": ["cap_kill"] });
        let process = json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "capabilities": sets });
        let text = json!({ "ociVersion": "1.2.0", "process": process }).to_string();
        let (spec, warnings) = read_container(text.as_bytes()).unwrap();
        assert_eq!(warnings, ["capability `CAP_FLY` is unknown and is left out"]);
        let sets = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(sets.bounding().as_ref().map(|set| set.len()), Some(1));
        assert_eq!(sets.effective().as_ref().map(|set| set.len()), Some(0));
    }

    #[test]
    fn a_process_without_a_user_is_root_and_flags_have_the_specification_s_names() {
        let scheduler = json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
        let text = json!({ "cwd": "/", "scheduler": scheduler }).to_string();
        let (process, warnings) = read_process(text.as_bytes()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
        let flags = process.scheduler().as_ref().unwrap().flags().clone().unwrap();
        assert_eq!(flags, [LinuxSchedulerFlag::SchedResetOnFork]);
    }

    #[test]
    fn an_error_keeps_its_line() {
        let text = "{\n\"ociVersion\": \"1.2.0\",\n\"process\": { \"cwd\": 5, \"user\": {} }\n}";
        assert!(read_container(text.as_bytes()).unwrap_err().to_string().contains("line 3"));
        assert!(read_process(b"{").is_err());
    }
}
