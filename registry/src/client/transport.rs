//! Requests to one registry: TLS, authentication, redirects. Credentials and tokens go to the registry's own origin
//! only. A redirect or an upload location on another origin is followed without them (CVE-2020-15157 and its kin in
//! other clients), and never from HTTPS to HTTP. What a registry answers is read up to a bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::credentials::{Credentials, Login};
use crate::error::{Error, Result};
use crate::reference::Reference;

const REDIRECTS_MAX: usize = 5;
const TOKEN_MAX: usize = 1 << 20;
const ERROR_BODY_MAX: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pieces of an answer, not for the whole of it.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What all conversations share.
pub(super) struct Transport {
    http: reqwest::Client,
    /// For loopback: a proxy of the environment cannot reach this machine's own.
    local: reqwest::Client,
    credentials: Credentials,
    /// By registry and scope: the value of the Authorization header.
    authorizations: Mutex<HashMap<(String, String), HeaderValue>>,
}

impl Transport {
    pub(super) fn new(credentials: Credentials) -> Result<Transport> {
        let tls = tls()?;
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .user_agent(concat!("proa/", env!("CARGO_PKG_VERSION")))
        };
        let failed = |source| Error::HttpClient { source };
        let http = builder().build().map_err(failed)?;
        let local = builder().no_proxy().build().map_err(failed)?;
        Ok(Transport { http, local, credentials, authorizations: Mutex::default() })
    }
}

impl Transport {
    fn http(&self, url: &Url) -> &reqwest::Client {
        if is_loopback(url) { &self.local } else { &self.http }
    }
}

/// The machine's own authorities. A machine without any can still talk to loopback.
fn tls() -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Tls { source })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// One repository at one registry, for one attempt.
pub(super) struct Remote<'a> {
    transport: &'a Transport,
    reference: &'a Reference,
    base: Url,
    scope: String,
}

/// One request; the body is empty or small enough to be sent again.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Ask {
    pub(super) fn new(method: Method, url: Url) -> Ask {
        Ask { method, url, headers: HeaderMap::new(), body: Vec::new() }
    }

    pub(super) fn header(mut self, name: reqwest::header::HeaderName, value: &str) -> Ask {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }
}

impl<'a> Remote<'a> {
    pub(super) fn new(transport: &'a Transport, reference: &'a Reference, action: &'static str) -> Result<Remote<'a>> {
        let actions = if action == "push" { "pull,push" } else { "pull" };
        let scope = format!("repository:{}:{actions}", reference.repository());
        let host = match reference.registry() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let scheme = if is_loopback_host(host) { "http" } else { "https" };
        let base = format!("{scheme}://{host}/v2/{}/", reference.repository());
        let base = Url::parse(&base).map_err(|_| Error::Reference {
            text: reference.to_string(),
            reason: "its registry does not make a URL",
        })?;
        Ok(Remote { transport, reference, base, scope })
    }

    /// `/v2/<repository>/<rest>`.
    pub(super) fn url(&self, rest: &str) -> Result<Url> {
        self.base.join(rest).map_err(|e| self.protocol(format!("cannot be asked for `{rest}`: {e}")))
    }

    /// Sends, authenticates when asked to, and follows redirects of GET and HEAD. Any status may come back.
    pub(super) async fn send(&self, ask: Ask) -> Result<Response> {
        let mut response = self.send_once(&ask, &ask.url).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.authenticate(&response).await? {
            response = self.send_once(&ask, &ask.url).await?;
        }
        let mut url = ask.url.clone();
        for _ in 0..REDIRECTS_MAX {
            let may_follow = ask.method == Method::GET || ask.method == Method::HEAD;
            if !response.status().is_redirection() || !may_follow {
                return Ok(response);
            }
            url = self.location(&response, &url)?;
            response = self.send_once(&ask, &url).await?;
        }
        Err(self.protocol("redirects without end".to_owned()))
    }

    async fn send_once(&self, ask: &Ask, url: &Url) -> Result<Response> {
        let mut request =
            self.transport.http(url).request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
        if let Some(value) = self.authorization(url) {
            request = request.header(AUTHORIZATION, value);
        }
        if !ask.body.is_empty() {
            request = request.body(ask.body.clone());
        }
        request.send().await.map_err(|source| self.request_failed(url, source))
    }

    /// Sends a body that cannot be sent twice, to a location the registry gave.
    pub(super) async fn send_stream(&self, method: Method, url: &Url, size: u64, body: Body) -> Result<Response> {
        let mut request = self.transport.http(url).request(method, url.clone());
        if let Some(value) = self.authorization(url) {
            request = request.header(AUTHORIZATION, value);
        }
        request = request.header(CONTENT_TYPE, "application/octet-stream");
        request = request.header(reqwest::header::CONTENT_LENGTH, size).body(body);
        request.send().await.map_err(|source| self.request_failed(url, source))
    }

    /// Where an answer points, resolved against the URL it answered.
    pub(super) fn location(&self, response: &Response, asked: &Url) -> Result<Url> {
        let value = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let value = value.ok_or_else(|| self.protocol("answered with a redirect but no location".to_owned()))?;
        let url = asked.join(value).map_err(|e| self.protocol(format!("points at `{value}`, which is no URL: {e}")))?;
        if !may_be_asked(&url) {
            return Err(self.protocol(format!("points at `{url}`, which is neither HTTPS nor on loopback")));
        }
        // A public registry has no business with what listens on this machine's loopback.
        if !is_loopback(&self.base) && is_loopback(&url) {
            return Err(self.protocol(format!("points at `{url}`, which is on this machine")));
        }
        Ok(url)
    }

    /// The secret for `url`: nothing unless it is of the registry's own origin.
    fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        if url.origin() != self.base.origin() {
            return None;
        }
        let known = self.transport.authorizations.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&self.key()).cloned()
    }

    fn key(&self) -> (String, String) {
        (self.reference.registry().to_owned(), self.scope.clone())
    }

    /// Answers a challenge; tells whether there is now something new to show.
    async fn authenticate(&self, response: &Response) -> Result<bool> {
        if response.url().origin() != self.base.origin() {
            return Ok(false);
        }
        let values = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> = values.filter_map(|v| Challenge::parse(v.to_str().ok()?)).collect();
        let login = self.transport.credentials.login(self.reference.registry());
        let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        let value = match (bearer.or(challenges.first()), login) {
            (Some(Challenge::Bearer { realm, service, .. }), login) => {
                Some(format!("Bearer {}", self.token(realm, service.as_deref(), login).await?))
            }
            (Some(Challenge::Basic), Some(login)) => Some(basic(login)),
            _ => None,
        };
        let Some(mut value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) else { return Ok(false) };
        value.set_sensitive(true);
        let mut known = self.transport.authorizations.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(self.key(), value);
        Ok(true)
    }

    /// Asks the token server the registry names. The realm is the registry's word; its password goes there only over
    /// HTTPS, or on loopback for a registry on loopback.
    async fn token(&self, realm: &str, service: Option<&str>, login: Option<&Login>) -> Result<String> {
        let mut url = Url::parse(realm).map_err(|e| self.protocol(format!("names a token server `{realm}`: {e}")))?;
        if !may_be_asked(&url) || is_loopback(&url) && !is_loopback(&self.base) {
            return Err(self.protocol(format!("names a token server `{url}` that must not be asked")));
        }
        let refresh = login.and_then(|login| login.identity_token.as_deref());
        let mut parameters = vec![("scope", self.scope.as_str())];
        parameters.extend(service.map(|service| ("service", service)));
        let request = match refresh {
            Some(token) => {
                parameters.extend([("grant_type", "refresh_token"), ("client_id", "proa"), ("refresh_token", token)]);
                let form = form(&parameters);
                self.transport
                    .http(&url)
                    .post(url.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form)
            }
            None => {
                url.query_pairs_mut().extend_pairs(&parameters);
                let request = self.transport.http(&url).get(url.clone());
                match login {
                    Some(login) => request.header(AUTHORIZATION, basic(login)),
                    None => request,
                }
            }
        };
        let response = request.send().await.map_err(|source| self.request_failed(&url, source))?;
        if !response.status().is_success() {
            return Err(self.answer(response).await);
        }
        let body = self.body(response, TOKEN_MAX).await?;
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| self.protocol("gave a malformed token".to_owned()))?;
        answer.token.or(answer.access_token).ok_or_else(|| self.protocol("gave no token".to_owned()))
    }

    /// A whole answer, bounded.
    pub(super) async fn body(&self, mut response: Response, limit: usize) -> Result<Vec<u8>> {
        let url = response.url().clone();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.request_failed(&url, source))? {
            if bytes.len() + chunk.len() > limit {
                return Err(self.protocol(format!("answered with more than {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// An answer that is a refusal, as an error.
    pub(super) async fn answer(&self, response: Response) -> Error {
        let status = response.status().as_u16();
        let body = self.body(response, ERROR_BODY_MAX).await.unwrap_or_default();
        let told = serde_json::from_slice::<Refusal>(&body).ok().and_then(|refusal| refusal.errors.into_iter().next());
        let mut detail = told.map(|told| format!(": {}", told.text())).unwrap_or_default();
        let registry = self.reference.registry();
        if matches!(status, 401 | 403)
            && self.transport.credentials.login(registry).is_none()
            && let Some(helper) = self.transport.credentials.helper(registry)
        {
            detail += &format!(" (its credentials are kept by the helper `{helper}`, which proa does not ask yet)");
        }
        Error::Answer {
            registry: registry.to_owned(),
            status,
            detail,
        }
    }

    pub(super) fn protocol(&self, reason: String) -> Error {
        Error::Protocol { registry: self.reference.registry().to_owned(), reason }
    }

    pub(super) fn request_failed(&self, url: &Url, source: reqwest::Error) -> Error {
        // Queries of other hosts may carry signatures.
        let mut shown = url.clone();
        shown.set_query(None);
        Error::Request { url: shown.to_string(), source: source.without_url() }
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// The distribution specification's error body.
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Told {
    fn text(&self) -> String {
        let text = if self.message.is_empty() { &self.code } else { &self.message };
        // A stranger's text goes to a terminal.
        text.chars().filter(|char| !char.is_control()).take(200).collect()
    }
}

fn basic(login: &Login) -> String {
    use base64::Engine;
    let pair = format!("{}:{}", login.username, login.password);
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn form(parameters: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form.invalid/").unwrap_or_else(|_| unreachable!("a constant URL parses"));
    url.query_pairs_mut().extend_pairs(parameters);
    url.query().unwrap_or_default().to_owned()
}

fn may_be_asked(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_loopback(url)
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

/// `localhost`, 127.0.0.0/8 and ::1, with or without a port. Other names are not looked up: what they resolve to is
/// another's choice.
fn is_loopback_host(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
