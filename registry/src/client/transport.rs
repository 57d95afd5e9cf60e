//! Requests to one registry: TLS and redirects. Credentials and tokens go to the registry's own origin only. A redirect
//! or an upload location on another origin is followed without them (CVE-2020-15157 and its kin in other clients), and
//! never from HTTPS to HTTP. What a registry answers is read up to a bound. token.rs answers challenges, authorities.rs
//! knows whom to trust.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::authorities::Authorities;
use super::credentials::{Credentials, Login};
use super::pace::{Halt, Pace, Pieces};
use crate::error::{Error, Result};
use crate::reference::Reference;

const REDIRECTS_MAX: usize = 5;
const ERROR_BODY_MAX: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pieces of an answer, not for the whole of it.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What all conversations share.
pub(super) struct Transport {
    authorities: Authorities,
    http: reqwest::Client,
    /// For loopback: a proxy of the environment cannot reach this machine's own.
    local: reqwest::Client,
    /// For hosts with authorities of their own, by `HOST:PORT`.
    own: Mutex<HashMap<String, reqwest::Client>>,
    credentials: Credentials,
    pub(super) pace: Pace,
    /// By registry: its login, once it was looked up.
    logins: Mutex<HashMap<String, Option<Login>>>,
    /// By registry and scopes: the value of the Authorization header.
    pub(super) authorizations: Mutex<HashMap<(String, String), HeaderValue>>,
}

impl Transport {
    pub(super) fn new(credentials: Credentials, folders: Vec<PathBuf>, pace: Pace) -> Result<Transport> {
        let authorities = Authorities::new(folders);
        let tls = authorities.common()?;
        let http = build(&tls, false)?;
        let local = build(&tls, true)?;
        let (own, logins, authorizations) = Default::default();
        Ok(Transport { authorities, http, local, own, credentials, pace, logins, authorizations })
    }

    pub(super) fn http(&self, url: &Url) -> Result<reqwest::Client> {
        let host = Authorities::host_of(url);
        if url.scheme() != "https" || self.authorities.folder(&host).is_none() {
            return Ok(if is_loopback(url) { self.local.clone() } else { self.http.clone() });
        }
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = own.get(&host) {
            return Ok(client.clone());
        }
        let Some(folder) = self.authorities.folder(&host) else { return Ok(self.http.clone()) };
        let client = build(&self.authorities.of(&folder)?, is_loopback(url))?;
        own.insert(host, client.clone());
        Ok(client)
    }

    /// The login of a registry; a helper program is asked once.
    pub(super) async fn login(&self, registry: &str) -> Result<Option<Login>> {
        let known = self.logins.lock().unwrap_or_else(PoisonError::into_inner).get(registry).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let (credentials, name) = (self.credentials.clone(), registry.to_owned());
        let login = super::blocking("looked up a login", move || credentials.find(&name)).await?;
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.to_owned(), login.clone());
        Ok(login)
    }
}

fn build(tls: &rustls::ClientConfig, local: bool) -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("proa/", env!("CARGO_PKG_VERSION")));
    let builder = if local { builder.no_proxy() } else { builder };
    builder.build().map_err(|source| Error::HttpClient { source })
}

/// One repository at one registry, for one attempt.
pub(super) struct Remote<'a> {
    pub(super) transport: &'a Transport,
    pub(super) registry: String,
    pub(super) base: Url,
    /// What a token is asked for, in the words of distribution's token specification.
    pub(super) scopes: Vec<String>,
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
    /// `actions` are what is meant to be done there: `pull`, or `pull,push`.
    pub(super) fn new(transport: &'a Transport, reference: &Reference, actions: &str) -> Result<Remote<'a>> {
        let repository = reference.repository();
        let scopes = vec![format!("repository:{repository}:{actions}")];
        Remote::at(transport, reference.registry(), &format!("{repository}/"), scopes)
    }

    /// A registry as a whole, for logging in.
    pub(super) fn whole(transport: &'a Transport, registry: &str) -> Result<Remote<'a>> {
        Remote::at(transport, registry, "", Vec::new())
    }

    fn at(transport: &'a Transport, registry: &str, path: &str, scopes: Vec<String>) -> Result<Remote<'a>> {
        let host = match registry {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        // Loopback is the one place where HTTP is spoken, unless somebody put an authority there.
        let is_plain = is_loopback_host(host) && transport.authorities.folder(host).is_none();
        let scheme = if is_plain { "http" } else { "https" };
        let refuse = || Error::Reference { text: registry.to_owned(), reason: "its registry does not make a URL" };
        let base = Url::parse(&format!("{scheme}://{host}/v2/{path}")).map_err(|_| refuse())?;
        // A name that smuggles a user, a query or another host in is none.
        let is_host = base.username().is_empty() && base.password().is_none() && base.path() == format!("/v2/{path}");
        if !is_host || base.query().is_some() || base.fragment().is_some() {
            return Err(refuse());
        }
        Ok(Remote { transport, registry: registry.to_owned(), base, scopes })
    }

    /// Also asks for what reading from another repository of the registry takes.
    pub(super) fn and_pull(&mut self, repository: &str) {
        self.scopes.push(format!("repository:{repository}:pull"));
    }

    /// `/v2/<repository>/<rest>`.
    pub(super) fn url(&self, rest: &str) -> Result<Url> {
        self.base.join(rest).map_err(|e| self.protocol(format!("cannot be asked for `{rest}`: {e}")))
    }

    /// Sends, authenticates when asked to, and follows redirects of GET and HEAD. Any status may come back.
    pub(super) async fn send(&self, ask: Ask) -> Result<Response> {
        let mut response = self.send_once(&ask, &ask.url).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.authenticate(&response).await?.changed {
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

    pub(super) async fn send_once(&self, ask: &Ask, url: &Url) -> Result<Response> {
        let mut request =
            self.transport.http(url)?.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
        if let Some(value) = self.authorization(url) {
            request = request.header(AUTHORIZATION, value);
        }
        if !ask.body.is_empty() {
            request = request.body(ask.body.clone());
        }
        self.transport.pace.head(request.send()).await.map_err(|halt| self.halted(url, halt))
    }

    /// Sends a body that cannot be sent twice, to a location the registry gave. `range` is the first byte and the one
    /// after the last, where it is a piece.
    pub(super) async fn send_stream(
        &self,
        method: Method,
        url: &Url,
        size: u64,
        range: Option<(u64, u64)>,
        body: Body,
    ) -> Result<Response> {
        let mut request = self.transport.http(url)?.request(method, url.clone());
        if let Some(value) = self.authorization(url) {
            request = request.header(AUTHORIZATION, value);
        }
        if let Some((start, end)) = range {
            request = request.header(CONTENT_RANGE, format!("{start}-{}", end.saturating_sub(1)));
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
        if self.base.scheme() == "https" && url.scheme() != "https" {
            return Err(self.protocol(format!("points at `{url}`, which is not HTTPS")));
        }
        // A public registry has no business with what listens on this machine's loopback.
        if !is_loopback(&self.base) && is_loopback(&url) {
            return Err(self.protocol(format!("points at `{url}`, which is on this machine")));
        }
        Ok(url)
    }

    /// The secret for `url`: nothing unless it is of the registry's own origin.
    pub(super) fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        if url.origin() != self.base.origin() {
            return None;
        }
        let known = self.transport.authorizations.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&self.key()).cloned()
    }

    pub(super) fn key(&self) -> (String, String) {
        (self.registry.clone(), self.scopes.join(" "))
    }

    /// A whole answer, bounded.
    pub(super) async fn body(&self, response: Response, limit: usize) -> Result<Vec<u8>> {
        let url = response.url().clone();
        let (mut bytes, mut pieces) = (Vec::new(), Pieces::of(response, self.transport.pace));
        while let Some(chunk) = pieces.next().await.map_err(|halt| self.halted(&url, halt))? {
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
        let detail = told.map(|told| format!(": {}", told.text())).unwrap_or_default();
        Error::Answer { registry: self.registry.clone(), status, detail }
    }

    pub(super) fn protocol(&self, reason: String) -> Error {
        Error::Protocol { registry: self.registry.clone(), reason }
    }

    pub(super) fn halted(&self, url: &Url, halt: Halt) -> Error {
        let Pace { window, least } = self.transport.pace;
        match halt {
            Halt::Slow => self.protocol(format!("is too slow: it sent fewer than {least} bytes in {window:?}")),
            Halt::Broken(source) => self.request_failed(url, source),
        }
    }

    pub(super) fn request_failed(&self, url: &Url, source: reqwest::Error) -> Error {
        // Queries of other hosts may carry signatures.
        let mut shown = url.clone();
        shown.set_query(None);
        Error::Request { url: shown.to_string(), source: source.without_url() }
    }
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

pub(super) fn may_be_asked(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_loopback(url)
}

pub(super) fn is_loopback(url: &Url) -> bool {
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
