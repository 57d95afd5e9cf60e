//! A seccomp profile in Docker's format, which is the OCI specification's with conditions: rules that count only for
//! some capabilities, architectures and kernels. Knows the format, not what a filter is made of.

use std::collections::HashSet;

use oci_spec::runtime::{Capability, LinuxSeccomp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::spec::capabilities;

/// A profile with more rules than this is nobody's.
const MOST_RULES: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: Option<String>,
    default_errno_ret: Option<u32>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<Family>,
    syscalls: Option<Vec<Rule>>,
}

/// A native architecture, and those whose programs its kernels run too.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    /// One name, in old profiles.
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Value>>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// The filter of a profile for a container that may hold `held`.
///
/// # Errors
/// `Invalid` with what is wrong about the profile.
pub fn lower(text: &str, held: &HashSet<Capability>) -> Result<LinuxSeccomp> {
    let invalid = |reason: String| Error::Invalid(format!("decoding seccomp profile failed: {reason}"));
    let profile: Profile = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    let action = profile.default_action.ok_or_else(|| invalid("it names no defaultAction".to_owned()))?;
    let architectures = architectures(profile.architectures, profile.arch_map).map_err(&invalid)?;
    let rules = profile.syscalls.unwrap_or_default();
    if rules.len() > MOST_RULES {
        return Err(invalid(format!("it has more than {MOST_RULES} rules")));
    }
    let mut syscalls = Vec::new();
    for mut rule in rules {
        if !applies(&rule, held).map_err(&invalid)? {
            continue;
        }
        if !rule.name.is_empty() {
            rule.names.push(rule.name);
        }
        if rule.names.is_empty() {
            return Err(invalid("a rule names no system call".to_owned()));
        }
        syscalls.push(present(&[
            ("names", json!(rule.names)),
            ("action", json!(rule.action)),
            ("errnoRet", json!(rule.errno_ret)),
            ("args", json!(rule.args.filter(|args| !args.is_empty()))),
        ]));
    }
    let filter = present(&[
        ("defaultAction", json!(action)),
        ("defaultErrnoRet", json!(profile.default_errno_ret)),
        ("flags", json!(profile.flags.filter(|flags| !flags.is_empty()))),
        ("architectures", json!(Some(architectures).filter(|all| !all.is_empty()))),
        ("listenerPath", json!(profile.listener_path.filter(|path| !path.is_empty()))),
        ("syscalls", Value::Array(syscalls)),
    ]);
    serde_json::from_value(filter).map_err(|error| invalid(error.to_string()))
}

/// Those of a list, or the family of this machine's; the others are none of its.
fn architectures(list: Vec<String>, families: Vec<Family>) -> Result<Vec<String>, String> {
    if !list.is_empty() && !families.is_empty() {
        return Err("both 'architectures' and 'archMap' are specified; use only one of them".to_owned());
    }
    let own = if cfg!(target_arch = "x86_64") { "SCMP_ARCH_X86_64" } else { "SCMP_ARCH_AARCH64" };
    let mut families = families.into_iter().filter(|family| family.architecture == own);
    Ok(families.next().map_or(list, |family| {
        let others = family.sub_architectures.unwrap_or_default();
        [family.architecture].into_iter().chain(others).collect()
    }))
}

fn present(fields: &[(&str, Value)]) -> Value {
    let given = fields.iter().filter(|(_, value)| !value.is_null());
    Value::Object(given.map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

/// Every capability, the architecture and the kernel that a rule includes, and none that it excludes.
fn applies(rule: &Rule, held: &HashSet<Capability>) -> Result<bool, String> {
    if let Some(excludes) = &rule.excludes {
        let kernel = excludes.min_kernel.as_deref().map(is_at_least).transpose()?.unwrap_or(false);
        if kernel || holds_any(&excludes.caps, held)? || excludes.arches.iter().any(|arch| is_ours(arch)) {
            return Ok(false);
        }
    }
    let Some(includes) = &rule.includes else { return Ok(true) };
    let kernel = includes.min_kernel.as_deref().map(is_at_least).transpose()?.unwrap_or(true);
    let arch = includes.arches.is_empty() || includes.arches.iter().any(|arch| is_ours(arch));
    let mut all = true;
    for name in &includes.caps {
        all &= holds_any(std::slice::from_ref(name), held)?;
    }
    Ok(kernel && arch && all)
}

fn holds_any(names: &[String], held: &HashSet<Capability>) -> Result<bool, String> {
    let mut any = false;
    for name in names {
        let capability = capabilities::parse(name).map_err(|error| error.to_string())?;
        any |= capability.is_some_and(|one| held.contains(&one));
    }
    Ok(any)
}

fn is_ours(arch: &str) -> bool {
    arch == if cfg!(target_arch = "x86_64") { "amd64" } else { std::env::consts::ARCH }
}

/// Whether this kernel is `MAJOR.MINOR` or newer.
fn is_at_least(version: &str) -> Result<bool, String> {
    let wanted = numbers(version).ok_or_else(|| format!("`{version}` is no kernel version"))?;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    Ok(numbers(&release).is_some_and(|ours| ours >= wanted))
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(profile: &Value, held: &[Capability]) -> Vec<String> {
        let held = held.iter().copied().collect();
        let filter = lower(&profile.to_string(), &held).unwrap();
        filter.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect()
    }

    #[test]
    fn rules_count_by_capability_architecture_and_kernel() {
        let rule = |name: &str, includes: Value, excludes: Value| json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "includes": includes, "excludes": excludes });
        let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": [] }],
            "syscalls": [
                rule("always", json!({}), json!({})),
                rule("mount", json!({ "caps": ["CAP_SYS_ADMIN"] }), json!({})),
                rule("clone", json!({}), json!({ "caps": ["CAP_SYS_ADMIN"] })),
                rule("s390", json!({ "arches": ["s390", "s390x"] }), json!({})),
                rule("new", json!({ "minKernel": "4.8" }), json!({})),
                rule("future", json!({ "minKernel": "999.0" }), json!({})),
                json!({ "name": "old", "action": "SCMP_ACT_ALLOW",
                    "args": [{ "index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ" }] }),
            ] });
        assert_eq!(names(&profile, &[]), ["always", "clone", "new", "old"]);
        assert_eq!(names(&profile, &[Capability::SysAdmin]), ["always", "mount", "new", "old"]);
    }

    #[test]
    fn architectures_are_a_list_or_this_machine_s_family() {
        let check = |field: &str, value: Value, wanted: Option<usize>| {
            let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", field: value });
            let filter = lower(&profile.to_string(), &HashSet::new()).unwrap();
            assert_eq!(filter.architectures().as_ref().map(Vec::len), wanted, "{profile}");
        };
        let families = json!([
            { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM", "SCMP_ARCH_X32"] },
            { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
            { "architecture": "SCMP_ARCH_S390X" },
        ]);
        check("archMap", families, Some(3));
        check("architectures", json!(["SCMP_ARCH_X86_64"]), Some(1));
        check("flags", json!([]), None);
    }

    #[test]
    fn a_profile_that_says_nothing_is_refused() {
        for text in
            ["", "{}", "[]", "{\"defaultAction\":\"NOPE\"}", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{}]}"]
        {
            let error = lower(text, &HashSet::new()).unwrap_err().sentence();
            assert!(error.starts_with("decoding seccomp profile failed: "), "{text}: {error}");
        }
    }
}
