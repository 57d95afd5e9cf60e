//! Documents: what is printed for programs to read.

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::Case;
use super::bundle::Bundle;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("list shows every container as a table, as JSON and by id", list),
    ("the state carries annotations", annotations),
    ("spec writes a bundle that runs, and overwrites nothing", spec),
    ("plan prints the steps and runs nothing", plan),
    ("features tells what this runtime can do, and nothing it cannot", features),
    ("what engines ask by habit is left out with a warning", habits),
    ("what config.json gets wrong is said in one sentence", wrong),
];

fn list(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    let table = bundle.program(&["list"])?.succeeded()?.output;
    assert!(table.starts_with("ID ") && table.contains("running"), "{table}");
    let parsed: Value = serde_json::from_str(&bundle.program(&["list", "--format", "json"])?.succeeded()?.output)?;
    assert_eq!(parsed[0]["id"], bundle.id.as_str());
    assert_eq!(bundle.program(&["list", "-q"])?.succeeded()?.output, format!("{}\n", bundle.id));
    Ok(())
}

fn annotations(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["annotations"] = json!({ "org.example.key": "value" });
    bundle.started(&["sleep", "1000"])?;
    assert_eq!(bundle.state()?["annotations"], json!({ "org.example.key": "value" }));
    Ok(())
}

fn spec(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.program(&["spec"])?.refused("it exists");
    let ended = bundle.run(&["id", "-u"])?.succeeded()?;
    assert_eq!(ended.output, "0\n");
    Ok(())
}

fn plan(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.runs(&["true"]).write()?;
    let steps = bundle.program(&["plan"])?.succeeded()?.output;
    assert!(steps.contains("pivot to root") && steps.contains("execute `true`"), "{steps}");
    // Nothing was made for it; the container that ends the case is another.
    bundle.program(&["run", &bundle.id])?.succeeded().map(drop)
}

fn wrong(bundle: &mut Bundle) -> Result<(), Failed> {
    std::fs::create_dir_all(bundle.path("state"))?;
    let mut check = |pointer: &str, value: Value, words: &str| -> Result<(), Failed> {
        let before = bundle.spec.clone();
        let (parent, name) = pointer.rsplit_once('/').ok_or("no pointer")?;
        bundle.spec.pointer_mut(parent).ok_or("no such place")?[name] = value;
        bundle.write()?;
        bundle.program(&["create", &bundle.id])?.refused(words);
        bundle.program(&["state", &bundle.id])?.refused("does not exist");
        bundle.spec = before;
        Ok(())
    };
    check("/ociVersion", json!("2.0.0"), "version `2.0.0`")?;
    check("/process/cwd", json!("relative"), "working directory `relative` is not absolute")?;
    check("/process/args", json!([]), "no command")?;
    check("/root/path", json!("nowhere"), "nowhere")?;
    check("/linux/maskedPaths", json!(7), "config.json")?;
    bundle.write()?;
    std::fs::write(bundle.path("config.json"), "{")?;
    bundle.program(&["create", &bundle.id])?.refused("read `");
    bundle.program(&["run", "--bundle", "/nonexistent", &bundle.id])?.refused("find the bundle");
    Ok(())
}

fn features(bundle: &mut Bundle) -> Result<(), Failed> {
    std::fs::create_dir_all(bundle.path("state"))?;
    let document: Value = serde_json::from_str(&bundle.program(&["features"])?.succeeded()?.output)?;
    assert_eq!((&document["ociVersionMin"], &document["ociVersionMax"]), (&json!("1.0.0"), &json!("1.3.0")));
    let has = |list: &Value, word: &str| list.as_array().is_some_and(|list| list.contains(&json!(word)));
    for word in ["rbind", "rro", "tmpcopyup", "idmap", "rslave", "nosymfollow"] {
        assert!(has(&document["mountOptions"], word), "{word}");
    }
    assert!(has(&document["linux"]["namespaces"], "time") && has(&document["linux"]["capabilities"], "CAP_BPF"));
    assert!(has(&document["linux"]["seccomp"]["actions"], "SCMP_ACT_NOTIFY"));
    assert_eq!(document["linux"]["intelRdt"], json!({ "enabled": false }));
    assert!(!document.to_string().contains("null"), "{document}");
    Ok(())
}

fn habits(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["linux"]["resources"]["memory"] = json!({ "kernel": 50_000_000 });
    let mounts = bundle.spec["mounts"].as_array_mut().ok_or("no mounts")?;
    mounts.push(json!({ "destination": "/tmp", "source": "/etc", "options": ["bind", "mode=755", "ro"] }));
    let ended = bundle.run(&["echo", "ran"])?.succeeded()?;
    assert_eq!(ended.output, "ran\n");
    assert!(ended.error.contains("warning: `linux.resources.memory.kernel` is left out"), "{ended:?}");
    assert!(
        ended.error.contains("warning: mount option `mode=755` of the bind mount at `/tmp` is left out"),
        "{ended:?}"
    );
    Ok(())
}
