//! `POST /auth`: whether a login is good.

use std::sync::Arc;

use bollard_stubs::models::AuthConfig;
use hyper::StatusCode;
use proa_registry::{Credentials, ErrorKind, Login};
use serde_json::json;

use crate::api::body;
use crate::api::call::Call;
use crate::api::reply::{Answer, Failure, ok};
use crate::error::{Error, chain};
use crate::host::Host;

/// `POST /auth`: asks the registry. The login itself is kept by whoever asks, never by the host.
pub(crate) async fn auth(host: &Arc<Host>, call: Call) -> Answer {
    let asked: AuthConfig = body::json(call.body).await?;
    let address = asked.serveraddress.unwrap_or_default();
    let registry = registry_of(&address)?;
    let login = Login {
        username: asked.username.unwrap_or_default(),
        password: asked.password.unwrap_or_default(),
        identity_token: None,
    };
    let credentials = Credentials::none().with(&registry, login);
    match host.images.log_in(&registry, credentials).await {
        Ok(token) => {
            let (status, token) = ("Login Succeeded", token.unwrap_or_default());
            ok(&json!({ "Status": status, "IdentityToken": token }))
        }
        Err(Error::Image { source, .. }) if source.kind() == ErrorKind::Denied => {
            Err(Failure { status: StatusCode::UNAUTHORIZED, message: format!("unauthorized: {}", chain(&*source)) })
        }
        Err(error) => Err(error.into()),
    }
}

/// The registry of an address, Docker Hub's old one included; none means Docker Hub.
fn registry_of(address: &str) -> Result<String, Failure> {
    let bare = address.trim().trim_start_matches("https://").trim_start_matches("http://");
    let host = bare.split('/').next().unwrap_or_default();
    match host {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => Ok("docker.io".to_owned()),
        // The grammar of references decides what a registry's name may be.
        host => proa_registry::Reference::parse(&format!("{host}/x"))
            .ok()
            .filter(|reference| reference.registry() == host)
            .map(|_| host.to_owned())
            .ok_or_else(|| Failure::bad_request(format!("`{address}` is not the address of a registry"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_registries_are_read_as_docker_s_clients_write_them() {
        for (address, expected) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("", "docker.io"),
            ("https://ghcr.io", "ghcr.io"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("http://localhost:5000/v2/", "localhost:5000"),
        ] {
            assert_eq!(registry_of(address).unwrap(), expected, "{address}");
        }
        for bad in ["user@host.io", "a b", "nohost", "../x"] {
            assert!(registry_of(bad).is_err(), "{bad}");
        }
    }
}
