//! Logins: where Docker keeps them, and the verbs that make and forget them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use proa_tests::Node;
use proa_tests::peer::Distribution;
use serde_json::Value;

pub(crate) fn logins_come_from_docker_s_settings() -> Result<()> {
    let node = Node::start()?;
    let registry = Distribution::guarded()?;
    let remote = format!("{}/guarded:1", registry.address());
    node.proa(&["tag", node.probe()?, &remote])?.success()?;
    node.proa(&["push", &remote])?.refused(1, &["guarded"])?;
    let settings = node.scratch().join("home/.docker");
    fs::create_dir_all(&settings)?;
    let login = |password: &str| -> Result<()> {
        let text = serde_json::json!({ "auths": { registry.address().to_string(): {
            "auth": base64(format!("sailor:{password}").as_bytes()) } } });
        let mut file = fs::File::create(settings.join("config.json"))?;
        Ok(file.write_all(text.to_string().as_bytes())?)
    };
    login("wrong")?;
    node.proa(&["push", &remote])?.refused(1, &["guarded"])?;
    login("ahoy")?;
    node.proa(&["push", &remote])?.success()?;
    node.proa(&["rmi", &remote])?.success()?;
    node.proa(&["pull", &remote])?.success()?;
    fs::remove_dir_all(&settings)?;
    node.proa(&["rmi", &remote])?.success()?;
    node.proa(&["pull", &remote])?.refused(1, &["guarded"])?;
    node.close()
}

/// RFC 4648, the standard alphabet.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place) & 63) as usize;
            text.push(if place <= group.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

/// `login` keeps what the registry takes, in a file that nobody else reads, and other settings stay; `logout` forgets.
pub(crate) fn login_and_logout_keep_docker_s_file() -> Result<()> {
    let node = Node::start()?;
    let registry = Distribution::guarded()?;
    let address = registry.address().to_string();
    let settings = node.scratch().join("home/.docker/config.json");
    fs::create_dir_all(settings.parent().unwrap_or(&settings))?;
    fs::write(&settings, "{\"detachKeys\": \"ctrl-e,e\"}")?;
    let stdin = |password: &[u8]| node.feed(&["login", "-u", "sailor", "--password-stdin", &address], password);
    stdin(b"wrong\n")?.refused(1, &[&address])?;
    let login = stdin(b"ahoy\n")?.success()?;
    ensure!(login.text() == "Login Succeeded" && login.complaint().contains("stored unencrypted"), "{login}");
    let mode = fs::metadata(&settings)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the file's mode is {mode:o}");
    let text: Value = serde_json::from_slice(&fs::read(&settings)?)?;
    ensure!(text["detachKeys"] == "ctrl-e,e" && text["auths"][&address]["auth"].is_string(), "{text}");
    let again = node.proa(&["login", &address])?.success()?;
    ensure!(again.text().starts_with("Authenticating with existing credentials"), "{again}");
    let remote = format!("{address}/guarded:1");
    node.proa(&["tag", node.probe()?, &remote])?.success()?;
    node.proa(&["push", "-q", &remote])?.success()?;
    let logout = node.proa(&["logout", &address])?.success()?;
    ensure!(logout.text() == format!("Removing login credentials for {address}"), "{logout}");
    node.proa(&["push", "-q", &remote])?.refused(1, &["guarded"])?;
    node.proa(&["login", "-u", "sailor", &address])?.refused(1, &["non TTY"])?;
    node.proa(&["login", "--password-stdin", &address])?.refused(1, &["--username"])?;
    node.close()
}
