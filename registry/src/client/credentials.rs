//! Whose password belongs to which registry: Docker's config.json, the helper programs it names, and the API's
//! X-Registry-Auth and X-Registry-Config. Sends nothing.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::helper;
use crate::descriptor::null_is_empty;
use crate::error::{Error, Result};

/// A user at one registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub password: String,
    /// A refresh token that stands in for the password (Docker's `identitytoken`).
    pub identity_token: Option<String>,
}

/// Secrets do not show up in logs.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Logins by registry.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    logins: HashMap<String, Login>,
    /// Helper programs that hold what `logins` does not: by registry, and for all others.
    helpers: HashMap<String, String>,
    default_helper: Option<String>,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default, deserialize_with = "null_is_empty")]
    auths: HashMap<String, Auth>,
    #[serde(default, rename = "credsStore")]
    default_helper: Option<String>,
    #[serde(default, rename = "credHelpers", deserialize_with = "null_is_empty")]
    helpers: HashMap<String, String>,
}

/// One entry of `auths`, and the body of X-Registry-Auth.
#[derive(Deserialize, Default)]
struct Auth {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default, rename = "identitytoken")]
    identity_token: Option<String>,
    #[serde(default, rename = "serveraddress")]
    server_address: Option<String>,
}

impl Login {
    /// The header X-Registry-Auth with this login at `registry`.
    pub fn header(&self, registry: &str) -> String {
        let body = serde_json::json!({
            "username": self.username,
            "password": self.password,
            "identitytoken": self.identity_token,
            "serveraddress": registry,
        });
        URL_SAFE.encode(body.to_string())
    }
}

impl Credentials {
    /// No logins: everything anonymous.
    pub fn none() -> Credentials {
        Credentials::default()
    }

    /// Reads `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; a missing file means no logins.
    pub fn from_docker_config() -> Result<Credentials> {
        match docker_config() {
            Some(path) => Credentials::from_file(&path),
            None => Ok(Credentials::none()),
        }
    }

    pub(super) fn from_file(path: &Path) -> Result<Credentials> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Credentials::none()),
            Err(source) => return Err(Error::File { action: "read", path: path.to_path_buf(), source }),
        };
        let config: ConfigFile = serde_json::from_slice(&text).map_err(|e| Error::Document {
            what: "Docker configuration",
            name: path.display().to_string(),
            reason: e.to_string(),
        })?;
        let mut credentials = Credentials { default_helper: config.default_helper, ..Credentials::default() };
        credentials.helpers = config.helpers.into_iter().map(|(key, helper)| (registry_of(&key), helper)).collect();
        for (key, auth) in config.auths {
            let registry = registry_of(&key);
            if let Some(login) = auth.login(&registry)? {
                credentials.logins.insert(registry, login);
            }
        }
        Ok(credentials)
    }

    /// Reads the header X-Registry-Auth of the Docker Engine API (base64 JSON) as a login at `registry`.
    pub fn from_registry_auth(registry: &str, header: &str) -> Result<Credentials> {
        let malformed =
            || Error::Credentials { registry: registry.to_owned(), reason: "X-Registry-Auth is malformed".into() };
        if header.trim().is_empty() {
            return Ok(Credentials::none());
        }
        let auth: Auth =
            serde_json::from_slice(&decode(header.trim()).ok_or_else(malformed)?).map_err(|_| malformed())?;
        // A login that names its registry belongs to that one only.
        let owner = auth.server_address.as_deref().filter(|address| !address.is_empty());
        let owner = owner.map_or_else(|| registry.to_owned(), registry_of);
        Ok(match auth.login(registry)? {
            Some(login) => Credentials::none().with(&owner, login),
            None => Credentials::none(),
        })
    }

    /// Reads the header X-Registry-Config (base64 JSON, logins by registry), which older clients send with a build.
    pub fn from_registry_config(header: &str) -> Result<Credentials> {
        let malformed =
            || Error::Credentials { registry: "any".into(), reason: "X-Registry-Config is malformed".into() };
        let auths: HashMap<String, Auth> =
            serde_json::from_slice(&decode(header.trim()).ok_or_else(malformed)?).map_err(|_| malformed())?;
        let mut credentials = Credentials::none();
        for (key, auth) in auths {
            let registry = registry_of(&key);
            if let Some(login) = auth.login(&registry)? {
                credentials.logins.insert(registry, login);
            }
        }
        Ok(credentials)
    }

    /// The login of a registry: what a helper program keeps where config.json names one for it, else what the file
    /// holds itself. Blocks while the helper is asked.
    ///
    /// # Errors
    /// A helper that cannot be asked, takes longer than a minute or says what is no login.
    pub fn find(&self, registry: &str) -> Result<Option<Login>> {
        // As Docker's command line has it, a helper is the owner of what it is named for.
        if let Some(helper) = self.helper(registry)
            && let Some(login) = helper::get(helper, registry)?
        {
            return Ok(Some(login));
        }
        Ok(self.logins.get(registry).cloned())
    }

    /// The login at `registry` as the header X-Registry-Auth carries it; `None` where there is none, or a helper program
    /// failed ([`Credentials::find`] says why).
    pub fn registry_auth(&self, registry: &str) -> Option<String> {
        self.find(registry).ok().flatten().map(|login| login.header(registry))
    }

    /// These logins, and those of `others` for registries that have none here.
    pub fn or(mut self, others: Credentials) -> Credentials {
        for (registry, login) in others.logins {
            self.logins.entry(registry).or_insert(login);
        }
        self
    }

    /// Adds a login.
    pub fn with(mut self, registry: &str, login: Login) -> Credentials {
        self.logins.insert(registry_of(registry), login);
        self
    }

    /// The helper program that would know a login for `registry`.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        self.helpers.get(registry).or(self.default_helper.as_ref()).map(String::as_str)
    }
}

impl Auth {
    fn login(&self, registry: &str) -> Result<Option<Login>> {
        let malformed = |reason: &str| Error::Credentials { registry: registry.to_owned(), reason: reason.to_owned() };
        let identity_token = self.identity_token.clone().filter(|token| !token.is_empty());
        let (username, password) = match self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            Some(auth) => {
                let text = decode(auth).and_then(|bytes| String::from_utf8(bytes).ok());
                let text = text.ok_or_else(|| malformed("`auth` is not base64"))?;
                let (username, password) = text.split_once(':').ok_or_else(|| malformed("`auth` holds no colon"))?;
                (username.to_owned(), password.trim_end_matches('\0').to_owned())
            }
            None => (self.username.clone().unwrap_or_default(), self.password.clone().unwrap_or_default()),
        };
        if username.is_empty() && identity_token.is_none() {
            return Ok(None);
        }
        Ok(Some(Login { username, password, identity_token }))
    }
}

/// Docker Hub's key in config.json and with helpers.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Where Docker's command line keeps its logins: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`. `None`
/// where neither is told.
pub fn docker_config() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
    folder.map(|folder| folder.join("config.json"))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text).ok())
}

/// config.json's keys are hosts or, for old entries, URLs; Docker Hub's is `https://index.docker.io/v1/`.
pub(super) fn registry_of(key: &str) -> String {
    let host = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match host.split('/').next().unwrap_or(host) {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_config_gives_each_registry_its_own_login() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"host:5000":{"username":"u","password":"p"},
            "empty.io":{}},"credsStore":"desktop","credHelpers":{"gcr.io":"gcloud"}}"#;
        std::fs::write(&path, text).unwrap();
        let credentials = Credentials::from_file(&path).unwrap();
        let login = |registry: &str| credentials.logins.get(registry);
        let hub = login("docker.io").unwrap();
        assert_eq!((hub.username.as_str(), hub.password.as_str()), ("a", "b"));
        assert_eq!(login("host:5000").unwrap().username, "u");
        assert!(login("empty.io").is_none() && login("host").is_none());
        assert_eq!((credentials.helper("gcr.io"), credentials.helper("empty.io")), (Some("gcloud"), Some("desktop")));
        assert!(Credentials::from_file(&dir.path().join("none")).unwrap().logins.is_empty());
        assert!(!format!("{hub:?}").contains('b'.to_string().as_str().repeat(2).as_str()));
    }

    #[test]
    fn the_apis_header_is_a_login_for_the_registry_it_names() {
        let header = URL_SAFE.encode(r#"{"username":"u","password":"p","serveraddress":"a.io"}"#);
        let credentials = Credentials::from_registry_auth("b.io", &header).unwrap();
        assert!(credentials.find("a.io").unwrap().is_some() && credentials.find("b.io").unwrap().is_none());
        let header = STANDARD.encode(r#"{"username":"u","password":"p"}"#);
        assert!(Credentials::from_registry_auth("b.io", &header).unwrap().find("b.io").unwrap().is_some());
        assert!(Credentials::from_registry_auth("b.io", "e30=").unwrap().find("b.io").unwrap().is_none());
        assert!(Credentials::from_registry_auth("b.io", "%%%").is_err());
        let header = URL_SAFE.encode(r#"{"https://index.docker.io/v1/":{"username":"u","password":"p"},"a.io":{}}"#);
        let credentials = Credentials::from_registry_config(&header).unwrap();
        assert!(credentials.find("docker.io").unwrap().is_some() && credentials.find("a.io").unwrap().is_none());
    }
}
