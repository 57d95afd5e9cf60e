//! Answers to challenges: a password for a registry that wants one, or a token from the server it names (distribution's
//! token specification). The realm is the registry's word, so it is looked at before anything secret goes there.

use std::sync::PoisonError;

use base64::Engine;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::credentials::Login;
use super::transport::{Remote, is_loopback, may_be_asked};
use crate::error::{Error, Result};

const TOKEN_MAX: usize = 1 << 20;
/// By what name this client asks.
const CLIENT: &str = "proa";

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
}

/// What came of a challenge.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Whether there is something new to show.
    pub(super) changed: bool,
    /// The token that stands in for the password from now on, where the server gave one.
    pub(super) identity_token: Option<String>,
}

impl Remote<'_> {
    /// Answers the challenge of a refusal.
    pub(super) async fn authenticate(&self, response: &Response) -> Result<Shown> {
        // Whoever a redirect led to has nothing to ask of us.
        if response.url().origin() != self.base.origin() {
            return Ok(Shown::default());
        }
        let values = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> = values.filter_map(|v| Challenge::parse(v.to_str().ok()?)).collect();
        let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        let mut identity_token = None;
        let value = match bearer.or(challenges.first()) {
            Some(Challenge::Bearer { realm, service, .. }) => {
                let (token, refresh) = self.token(realm, service.as_deref()).await?;
                identity_token = refresh;
                Some(format!("Bearer {token}"))
            }
            Some(Challenge::Basic) => self.transport.login(&self.registry).await?.as_ref().map(basic),
            None => None,
        };
        let Some(mut value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) else {
            return Ok(Shown::default());
        };
        value.set_sensitive(true);
        let mut known = self.transport.authorizations.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(self.key(), value);
        Ok(Shown { changed: true, identity_token })
    }

    /// A token from the server the registry names, and the one that renews it where the server gave such.
    async fn token(&self, realm: &str, service: Option<&str>) -> Result<(String, Option<String>)> {
        let mut url = Url::parse(realm).map_err(|e| self.protocol(format!("names a token server `{realm}`: {e}")))?;
        let downgraded = self.base.scheme() == "https" && url.scheme() != "https";
        if !may_be_asked(&url) || downgraded || is_loopback(&url) && !is_loopback(&self.base) {
            return Err(self.protocol(format!("names a token server `{url}` that must not be asked")));
        }
        let login = self.login_at(&url).await?;
        let mut parameters: Vec<(&str, &str)> = self.scopes.iter().map(|scope| ("scope", scope.as_str())).collect();
        parameters.extend(service.map(|service| ("service", service)));
        let http = self.transport.http(&url)?;
        let refresh = login.as_ref().and_then(|login| login.identity_token.as_deref());
        let request = match refresh {
            Some(token) => {
                parameters.extend([("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token)]);
                // The form has one field for all scopes, parted by spaces (RFC 6749, section 3.3).
                let scopes = self.scopes.join(" ");
                parameters.retain(|(name, _)| *name != "scope");
                parameters.extend(Some(("scope", scopes.as_str())).filter(|(_, scopes)| !scopes.is_empty()));
                let body = form(&parameters);
                http.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
            }
            None => {
                if let Some(login) = &login {
                    parameters.push(("account", &login.username));
                }
                if self.scopes.is_empty() {
                    // Logging in: the token that is kept instead of the password, if the server gives any.
                    parameters.extend([("client_id", CLIENT), ("offline_token", "true")]);
                }
                url.query_pairs_mut().extend_pairs(&parameters);
                let request = http.get(url.clone());
                match &login {
                    Some(login) => request.header(AUTHORIZATION, basic(login)),
                    None => request,
                }
            }
        };
        let response = request.send().await.map_err(|source| self.request_failed(&url, source))?;
        if !response.status().is_success() {
            return Err(self.token_refused(&url, login.is_none(), response).await);
        }
        let body = self.body(response, TOKEN_MAX).await?;
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| self.protocol("gave a malformed token".to_owned()))?;
        let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
        let token = token.ok_or_else(|| self.protocol("gave no token".to_owned()))?;
        Ok((token, answer.refresh_token.filter(|token| !token.is_empty())))
    }

    /// The login to show to the token server at `url`. A registry that could send its users' passwords to any host would
    /// be one redirect away from giving them to a stranger: the server must be of the registry's own site, or have a
    /// login of its own among the credentials.
    async fn login_at(&self, url: &Url) -> Result<Option<Login>> {
        let host = super::authorities::Authorities::host_of(url);
        let bare = url.host_str().unwrap_or_default();
        if is_of_site(self.base.host_str().unwrap_or_default(), bare) {
            return self.transport.login(&self.registry).await;
        }
        match self.transport.login(&host).await? {
            Some(login) => Ok(Some(login)),
            None => self.transport.login(bare).await,
        }
    }

    async fn token_refused(&self, url: &Url, anonymous: bool, response: Response) -> Error {
        let error = self.answer(response).await;
        let has_login = self.transport.login(&self.registry).await.is_ok_and(|login| login.is_some());
        match error {
            Error::Answer { registry, status, detail } if anonymous && has_login => {
                let host = url.host_str().unwrap_or_default();
                let hint = format!("{detail} (its token server `{host}` is of another site and was shown no password)");
                Error::Answer { registry, status, detail: hint }
            }
            error => error,
        }
    }
}

/// Whether two hosts are of one site: the same, or names below one domain that somebody registered. Addresses are only
/// themselves.
fn is_of_site(registry: &str, other: &str) -> bool {
    if registry.eq_ignore_ascii_case(other) {
        return true;
    }
    // Docker's hardened images are Docker Hub's.
    if matches!((registry, other), ("dhi.io", "auth.docker.io")) {
        return true;
    }
    match (site(registry), site(other)) {
        (Some(one), Some(two)) => one.eq_ignore_ascii_case(two),
        _ => false,
    }
}

/// The registered domain of a name: its last two labels, or three below a country's `co`, `com` and the like.
fn site(host: &str) -> Option<&str> {
    if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let host = host.trim_end_matches('.');
    let labels: Vec<&str> = host.split('.').collect();
    let count = match labels[..] {
        [.., second, country] if country.len() == 2 && second.len() <= 3 => 3,
        _ => 2,
    };
    // Whole names of strangers hang below these: no site is shared there.
    const SHARED: [&str; 8] = [
        "amazonaws.com",
        "azurecr.io",
        "azurewebsites.net",
        "cloudfront.net",
        "github.io",
        "appspot.com",
        "run.app",
        "pkg.dev",
    ];
    let start = labels.len().checked_sub(count)?;
    let at: usize = labels[..start].iter().map(|label| label.len() + 1).sum();
    let found = &host[at..];
    (!SHARED.contains(&found)).then_some(found)
}

pub(super) fn basic(login: &Login) -> String {
    let pair = format!("{}:{}", login.username, login.password);
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn form(parameters: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form.invalid/").unwrap_or_else(|_| unreachable!("a constant URL parses"));
    url.query_pairs_mut().extend_pairs(parameters);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_server_is_of_the_registry_s_site_or_a_stranger() {
        for (registry, other, expected) in [
            ("registry-1.docker.io", "auth.docker.io", true),
            ("ghcr.io", "ghcr.io", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("registry.example.co.uk", "auth.example.co.uk", true),
            ("registry.example.co.uk", "evil.co.uk", false),
            ("registry.example.com", "example.org", false),
            ("registry.example.com", "example.com.evil.org", false),
            ("1.2.3.4", "1.2.3.5", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("[::1]", "[::2]", false),
            ("one.azurecr.io", "two.azurecr.io", false),
            ("registry.internal", "other", false),
            ("localhost", "evil", false),
        ] {
            assert_eq!(is_of_site(registry, other), expected, "{registry} {other}");
        }
    }
}
