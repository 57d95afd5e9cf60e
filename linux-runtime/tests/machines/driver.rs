//! `--systemd-cgroup`, where systemd is the first program and owns the cgroups.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::verbs::bundle::Bundle;

type Case = fn(&mut Bundle) -> Result<(), Failed>;

pub(crate) fn trials() -> Vec<Trial> {
    let cases: [(&str, Case); 7] = [
        ("a scope is made with its bounds and goes away", made),
        ("systemd keeps the bounds when it reads its units again", reloaded),
        ("slices are made as their names nest", nested),
        ("without cgroupsPath the scope is of our naming", unnamed),
        ("a scope ends with its container", ended),
        ("one that is there already is left alone", taken),
        ("what is no scope's path is refused", refused),
    ];
    let run = |case: Case| move || case(&mut Bundle::new()?);
    cases.into_iter().map(|(name, case)| Trial::test(name, run(case))).collect()
}

/// Names its scope, in `slice`.
fn in_slice(bundle: &mut Bundle, slice: &str) -> String {
    bundle.spec["linux"]["cgroupsPath"] = json!(format!("{slice}:proa:{}", bundle.id));
    format!("proa-{}.scope", bundle.id)
}

fn started(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["sleep", "1000"]).write()?;
    bundle.program(&["--systemd-cgroup", "create", &bundle.id])?.succeeded()?;
    bundle.program(&["start", &bundle.id])?.succeeded().map(drop)
}

fn delete(bundle: &Bundle) -> Result<(), Failed> {
    bundle.program(&["delete", "--force", &bundle.id])?.succeeded().map(drop)
}

/// What systemd says of a unit's property.
fn property(unit: &str, name: &str) -> Result<String, Failed> {
    let output = Command::new("systemctl").args(["show", "--value", "--property", name, unit]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn says(unit: &str, properties: &[(&str, &str)]) -> Result<(), Failed> {
    for (name, wanted) in properties {
        let found = property(unit, name)?;
        expect(&format!("{unit}: {name} is `{wanted}`"), found == *wanted, found)?;
    }
    Ok(())
}

fn group(unit: &str) -> Result<PathBuf, Failed> {
    Ok(PathBuf::from("/sys/fs/cgroup").join(property(unit, "ControlGroup")?.trim_start_matches('/')))
}

fn holds(unit: &str, files: &[(&str, &str)]) -> Result<(), Failed> {
    for (file, wanted) in files {
        let found = fs::read_to_string(group(unit)?.join(file))?;
        expect(&format!("{unit}: {file} is `{wanted}`"), found.trim() == *wanted, found)?;
    }
    Ok(())
}

fn expect(what: &str, holds: bool, seen: impl std::fmt::Debug) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("{what}: {seen:?}").into()) }
}

fn is_gone(unit: &str, group: &PathBuf) -> Result<(), Failed> {
    says(unit, &[("LoadState", "not-found")])?;
    expect("its group is gone", !group.exists(), group)
}

fn made(bundle: &mut Bundle) -> Result<(), Failed> {
    let unit = in_slice(bundle, "system.slice");
    bundle.spec["linux"]["resources"] = json!({
        "memory": { "limit": 64 << 20, "swap": 64 << 20 },
        "cpu": { "shares": 512, "quota": 25_000, "period": 50_000, "cpus": "1" },
        "pids": { "limit": 33 },
        "unified": { "memory.high": "50331648" },
    });
    started(bundle)?;
    says(
        &unit,
        &[
            ("ActiveState", "active"),
            ("Slice", "system.slice"),
            ("Delegate", "yes"),
            ("MemoryMax", "67108864"),
            ("MemorySwapMax", "0"),
            ("CPUWeight", "59"),
            ("CPUQuotaPerSecUSec", "500ms"),
            ("AllowedCPUs", "1"),
            ("TasksMax", "33"),
        ],
    )?;
    let pid = bundle.state()?["pid"].to_string();
    holds(
        &unit,
        &[
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("memory.high", "50331648"),
            ("cpu.weight", "59"),
            ("cpu.max", "25000 50000"),
            ("cpuset.cpus", "1"),
            ("pids.max", "33"),
            // Who held the scope open is gone.
            ("cgroup.procs", &pid),
        ],
    )?;
    let group = group(&unit)?;
    expect("where it stands", group.ends_with(format!("system.slice/{unit}")), &group)?;
    delete(bundle)?;
    is_gone(&unit, &group)
}

fn reloaded(bundle: &mut Bundle) -> Result<(), Failed> {
    let unit = in_slice(bundle, "system.slice");
    bundle.spec["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 } });
    started(bundle)?;
    let update = ["update", "--memory", "96m", "--pids-limit", "40", "--cpu-share", "2048", &bundle.id];
    bundle.program(&update)?.succeeded()?;
    let bounds = [("memory.max", "100663296"), ("pids.max", "40"), ("cpu.weight", "174")];
    holds(&unit, &bounds)?;
    let reload = Command::new("systemctl").arg("daemon-reload").status()?;
    expect("systemd reloads", reload.success(), reload)?;
    holds(&unit, &bounds)?;
    says(&unit, &[("MemoryMax", "100663296"), ("TasksMax", "40")])?;
    delete(bundle)
}

fn nested(bundle: &mut Bundle) -> Result<(), Failed> {
    let unit = in_slice(bundle, "proa-test-deep.slice");
    started(bundle)?;
    let group = group(&unit)?;
    let place = format!("proa.slice/proa-test.slice/proa-test-deep.slice/{unit}");
    expect("where it stands", group.ends_with(&place), &group)?;
    delete(bundle)?;
    is_gone(&unit, &group)
}

fn unnamed(bundle: &mut Bundle) -> Result<(), Failed> {
    started(bundle)?;
    let unit = format!("proa-linux-{}.scope", bundle.id);
    says(&unit, &[("ActiveState", "active"), ("Slice", "system.slice")])?;
    delete(bundle)
}

fn ended(bundle: &mut Bundle) -> Result<(), Failed> {
    let unit = in_slice(bundle, "system.slice");
    bundle.runs(&["sh", "-c", "cat /proc/self/cgroup; exit 7"]).write()?;
    let ended = bundle.program(&["--systemd-cgroup", "run", &bundle.id])?;
    expect("its exit code", ended.code == Some(7), &ended)?;
    expect("its scope", ended.output.contains("0::/"), &ended)?;
    says(&unit, &[("LoadState", "not-found")])
}

fn taken(bundle: &mut Bundle) -> Result<(), Failed> {
    let unit = in_slice(bundle, "system.slice");
    started(bundle)?;
    let mut other = Bundle::new()?;
    other.spec["linux"]["cgroupsPath"] = bundle.spec["linux"]["cgroupsPath"].clone();
    other.runs(&["true"]).write()?;
    let refused = other.program(&["--systemd-cgroup", "run", &other.id])?;
    expect("the second is refused", refused.code == Some(1) && refused.error.contains(&unit), refused)?;
    says(&unit, &[("ActiveState", "active")])?;
    expect("the first runs", bundle.status()? == "running", bundle.status()?)?;
    delete(bundle)
}

fn refused(bundle: &mut Bundle) -> Result<(), Failed> {
    for path in ["/machine/c", "a:b", "machine:proa:c", "a.slice:b:../c"] {
        bundle.spec["linux"]["cgroupsPath"] = json!(path);
        bundle.runs(&["true"]).write()?;
        let ended = bundle.program(&["--systemd-cgroup", "run", &bundle.id])?;
        let told = ended.code == Some(1) && ended.error.contains("linux.cgroupsPath");
        expect(path, told, ended)?;
    }
    Ok(())
}
