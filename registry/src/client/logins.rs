//! Logins that are kept: Docker's config.json, or the helper program it names. The file is replaced whole, readable by its
//! owner only, and what else it holds stays as it is.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::credentials::{HUB_KEY, Login, registry_of};
use super::helper;
use crate::error::{Error, Result};
use crate::layout::unique_name;

/// The most bytes of a configuration that are read.
const FILE_MAX: u64 = 4 << 20;

/// Where a login went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// Into the file, as base64, which is no secret to whoever reads the file.
    File(PathBuf),
    /// To the helper program of this name.
    Helper(String),
}

/// Keeps `login` for `registry` where the configuration `path` (Docker's config.json, see
/// [`docker_config`](crate::docker_config)) says: with its helper program, else in itself. For `proa login`, once
/// [`Client::log_in`](crate::Client::log_in) or `POST /auth` found it good. Blocks.
pub fn keep_login(path: &Path, registry: &str, login: &Login) -> Result<Keeper> {
    let registry = registry_of(registry);
    let mut config = read(path)?;
    let helper = helper_of(&config, &registry);
    let entry = match &helper {
        Some(helper) => {
            helper::store(helper, &registry, login)?;
            json!({})
        }
        None => match &login.identity_token {
            Some(token) => json!({ "auth": STANDARD.encode(format!("{}:", login.username)), "identitytoken": token }),
            None => json!({ "auth": STANDARD.encode(format!("{}:{}", login.username, login.password)) }),
        },
    };
    auths(&mut config, path)?.insert(key_of(&registry), entry);
    write(path, &config)?;
    Ok(helper.map_or_else(|| Keeper::File(path.to_path_buf()), Keeper::Helper))
}

/// Forgets the login for `registry`, in the file and with its helper program; tells whether the file knew one. Blocks.
pub fn forget_login(path: &Path, registry: &str) -> Result<bool> {
    let registry = registry_of(registry);
    let mut config = read(path)?;
    if let Some(helper) = helper_of(&config, &registry) {
        helper::erase(&helper, &registry)?;
    }
    let all = auths(&mut config, path)?;
    let before = all.len();
    all.retain(|key, _| registry_of(key) != registry);
    let was_known = all.len() < before;
    if was_known {
        write(path, &config)?;
    }
    Ok(was_known)
}

fn key_of(registry: &str) -> String {
    if registry == "docker.io" { HUB_KEY.to_owned() } else { registry.to_owned() }
}

fn helper_of(config: &Map<String, Value>, registry: &str) -> Option<String> {
    let own = config.get("credHelpers").and_then(Value::as_object).and_then(|helpers| {
        helpers.iter().find(|(key, _)| registry_of(key) == registry).and_then(|(_, name)| name.as_str())
    });
    let name = own.or_else(|| config.get("credsStore").and_then(Value::as_str))?;
    Some(name.to_owned()).filter(|name| !name.is_empty())
}

fn auths<'a>(config: &'a mut Map<String, Value>, path: &Path) -> Result<&'a mut Map<String, Value>> {
    let entry = config.entry("auths").or_insert_with(|| json!({}));
    if entry.is_null() {
        *entry = json!({});
    }
    entry.as_object_mut().ok_or_else(|| malformed(path, "`auths` is not an object".to_owned()))
}

fn malformed(path: &Path, reason: String) -> Error {
    Error::Document { what: "Docker configuration", name: path.display().to_string(), reason }
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(source) => return Err(Error::File { action: "open", path: path.to_path_buf(), source }),
    };
    let mut text = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut text).map_err(Error::file("read", path))?;
    if text.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&text).map_err(|error| malformed(path, error.to_string()))
}

/// Beside the file, synced, and renamed over it: whoever reads sees the old one or the new one.
fn write(path: &Path, config: &Map<String, Value>) -> Result<()> {
    // Some keep their configuration elsewhere and a link here; the link stays.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(Error::file("create folder", folder))?;
    let temporary = folder.join(format!(".config.json.{}", unique_name()));
    let text = serde_json::to_vec_pretty(config).map_err(|error| malformed(path, error.to_string()))?;
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, &target)
    });
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        Error::File { action: "replace", path: target.clone(), source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Credentials;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_login_is_kept_beside_what_else_stands_there_and_forgotten_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker/config.json");
        let login = Login { username: "sailor".into(), password: "a:hoy".into(), identity_token: None };
        assert_eq!(keep_login(&path, "host:5000", &login).unwrap(), Keeper::File(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(&path, fs::read_to_string(&path).unwrap().replacen('{', "{\"psFormat\":\"x\",", 1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        keep_login(&path, "docker.io", &login).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("psFormat") && text.contains("https://index.docker.io/v1/"), "{text}");
        let known = Credentials::from_file(&path).unwrap();
        assert_eq!(known.find("host:5000").unwrap().unwrap(), login);
        assert_eq!(known.find("docker.io").unwrap().unwrap(), login);
        assert!(forget_login(&path, "https://index.docker.io/v1/").unwrap());
        assert!(!forget_login(&path, "docker.io").unwrap());
        assert!(Credentials::from_file(&path).unwrap().find("docker.io").unwrap().is_none());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing half-written is left");
    }

    #[test]
    fn a_link_to_the_file_stays_and_a_malformed_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.json"), dir.path().join("config.json"));
        fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        keep_login(&link, "a.io", &Login { username: "u".into(), ..Login::default() }).unwrap();
        assert!(link.is_symlink() && fs::read_to_string(&real).unwrap().contains("a.io"));
        fs::write(&real, "{").unwrap();
        assert!(keep_login(&link, "a.io", &Login::default()).is_err() && forget_login(&link, "a.io").is_err());
        assert_eq!(fs::read_to_string(&real).unwrap(), "{");
    }
}
