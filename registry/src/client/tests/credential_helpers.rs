//! Credential helpers. They are found on PATH, which is the process's: the cases share one folder there.

use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;

use super::*;

/// A folder on PATH with helpers of every kind.
fn folder() -> &'static std::path::Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let helper = |name: &str, script: &str| {
                let path = folder.path().join(format!("docker-credential-{name}"));
                std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            };
            let kept = folder.path().join("kept").display().to_string();
            helper(
                "good",
                &format!(
                    r#"case "$1" in
get) read server; echo "$server" >> {kept}.asked; printf '{{"ServerURL":"%s","Username":"sailor","Secret":"ahoy"}}' "$server";;
store) cat > {kept}.stored;;
erase) cat > {kept}.erased;;
esac"#
                ),
            );
            helper("token", r#"printf '{"Username":"<token>","Secret":"refresh"}'"#);
            helper("empty", "echo credentials not found in native keychain; exit 1");
            helper("angry", "echo locked; exit 3");
            helper("flood", "cat /dev/zero");
            helper("garbage", "echo hello");
            folder
        })
        .path()
}

/// Runs this test program once more with the helpers on PATH: changing the environment of a process that has threads is
/// not safe, and not needed.
fn again(case: &str) -> bool {
    if std::env::var_os("PROA_TEST_HELPERS").is_some() {
        return false;
    }
    let path = format!("{}:{}", folder().display(), std::env::var("PATH").unwrap_or_default());
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("client::tests::helpers::{case}"), "--nocapture"])
        .env("PATH", path)
        .env("PROA_TEST_HELPERS", folder())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

fn credentials(config: &str) -> Credentials {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, config).unwrap();
    Credentials::from_file(&path).unwrap()
}

#[test]
fn a_helper_is_asked_for_what_it_keeps() {
    if again("a_helper_is_asked_for_what_it_keeps") {
        return;
    }
    let all = credentials(
        r#"{"credsStore":"empty","credHelpers":{"a.io":"good","https://index.docker.io/v1/":"good","b.io":"token"},
        "auths":{"c.io":{"auth":"YTpi"}}}"#,
    );
    let found = all.find("a.io").unwrap().unwrap();
    assert_eq!((found.username.as_str(), found.password.as_str()), ("sailor", "ahoy"));
    assert_eq!(all.find("b.io").unwrap().unwrap().identity_token.as_deref(), Some("refresh"));
    assert_eq!(all.find("c.io").unwrap().unwrap().username, "a");
    assert!(all.find("d.io").unwrap().is_none());
    assert!(all.registry_auth("a.io").is_some() && all.registry_auth("d.io").is_none());
    assert!(all.find("docker.io").unwrap().is_some());
    let folder = std::path::PathBuf::from(std::env::var_os("PROA_TEST_HELPERS").unwrap());
    let asked = std::fs::read_to_string(folder.join("kept.asked")).unwrap();
    assert!(asked.contains("https://index.docker.io/v1/"), "{asked}");
}

#[test]
fn a_helper_that_fails_floods_or_is_a_path_is_one_sentence() {
    if again("a_helper_that_fails_floods_or_is_a_path_is_one_sentence") {
        return;
    }
    for (helper, part) in [
        ("angry", "locked"),
        ("flood", "more than 64 KiB"),
        ("garbage", "did not answer with a login"),
        ("missing", "cannot be asked"),
        ("../good", "a name that is none"),
        ("x/../../good", "a name that is none"),
    ] {
        let all = credentials(&format!(r#"{{"credsStore":"{helper}"}}"#));
        let text = all.find("a.io").unwrap_err().to_string();
        assert!(text.contains(part) && !text.contains('\n'), "{helper}: {text}");
        assert!(all.registry_auth("a.io").is_none());
    }
}

#[test]
fn a_login_is_kept_by_the_helper_that_is_named_for_it() {
    if again("a_login_is_kept_by_the_helper_that_is_named_for_it") {
        return;
    }
    let folder = std::path::PathBuf::from(std::env::var_os("PROA_TEST_HELPERS").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, r#"{"credsStore":"good"}"#).unwrap();
    let login = Login { username: "sailor".into(), password: "ahoy".into(), identity_token: None };
    assert_eq!(keep_login(&path, "a.io", &login).unwrap(), Keeper::Helper("good".to_owned()));
    let stored = std::fs::read_to_string(folder.join("kept.stored")).unwrap();
    assert!(stored.contains(r#""Secret":"ahoy""#) && stored.contains(r#""ServerURL":"a.io""#), "{stored}");
    assert!(!std::fs::read_to_string(&path).unwrap().contains("ahoy"));
    forget_login(&path, "a.io").unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("kept.erased")).unwrap(), "a.io");
}
