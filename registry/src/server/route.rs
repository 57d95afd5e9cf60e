//! Requests of the distribution protocol, understood: method and path become a [`Route`] whose names have been checked.
//! A repository that passed cannot leave its folder, for it holds no `..`.

use hyper::{Method, Uri};

use super::answer::Refusal;
use crate::digest::Digest;
use crate::reference::{check_repository, check_tag};

/// What is asked of the registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Version,
    Tags { repository: String, after: Option<String>, most: usize },
    GetManifest { repository: String, target: Target },
    PutManifest { repository: String, target: Target },
    DeleteManifest { repository: String, target: Target },
    GetBlob { digest: Digest },
    BeginUpload { repository: String, mount: Option<Digest>, digest: Option<Digest> },
    UploadStatus { repository: String, id: String },
    Append { repository: String, id: String },
    Finish { repository: String, id: String, digest: Digest },
    Cancel { repository: String, id: String },
}

/// How a manifest is named.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Tag(String),
    Digest(Digest),
}

impl Route {
    pub(super) fn of(method: &Method, uri: &Uri) -> Result<Route, Refusal> {
        let unknown = || Refusal::new(404, "UNSUPPORTED", "there is no such endpoint");
        let path = uri.path();
        if path == "/v2" || path == "/v2/" {
            return if reads(method) { Ok(Route::Version) } else { Err(not_allowed()) };
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(unknown)?;
        if let Some(name) = rest.strip_suffix("/tags/list") {
            let most = query(uri, "n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
            let route = Route::Tags { repository: repository(name)?, after: query(uri, "last"), most };
            return if reads(method) { Ok(route) } else { Err(not_allowed()) };
        }
        // From the right: a repository may itself be called `blobs`.
        if let Some((name, id)) = split_last(rest, "/blobs/uploads/") {
            return upload(method, uri, repository(name)?, id);
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads") {
            return upload(method, uri, repository(name)?, "");
        }
        if let Some((name, digest)) = split_last(rest, "/blobs/") {
            repository(name)?;
            let route = Route::GetBlob { digest: self::digest(digest)? };
            return if reads(method) { Ok(route) } else { Err(not_allowed()) };
        }
        let (name, target) = split_last(rest, "/manifests/").ok_or_else(unknown)?;
        let (repository, target) = (repository(name)?, self::target(target)?);
        match *method {
            Method::GET | Method::HEAD => Ok(Route::GetManifest { repository, target }),
            Method::PUT => Ok(Route::PutManifest { repository, target }),
            Method::DELETE => Ok(Route::DeleteManifest { repository, target }),
            _ => Err(not_allowed()),
        }
    }
}

fn upload(method: &Method, uri: &Uri, repository: String, id: &str) -> Result<Route, Refusal> {
    let named = query(uri, "digest").map(|text| digest(&text)).transpose()?;
    if id.is_empty() {
        let mount = query(uri, "mount").map(|text| digest(&text)).transpose()?;
        return match *method {
            Method::POST => Ok(Route::BeginUpload { repository, mount, digest: named }),
            _ => Err(not_allowed()),
        };
    }
    let id = id.to_owned();
    match *method {
        Method::GET => Ok(Route::UploadStatus { repository, id }),
        Method::PATCH => Ok(Route::Append { repository, id }),
        Method::DELETE => Ok(Route::Cancel { repository, id }),
        Method::PUT => match named {
            Some(digest) => Ok(Route::Finish { repository, id, digest }),
            None => Err(Refusal::new(400, "DIGEST_INVALID", "the upload's digest is missing")),
        },
        _ => Err(not_allowed()),
    }
}

fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn not_allowed() -> Refusal {
    Refusal::new(405, "UNSUPPORTED", "the method is not allowed here")
}

fn split_last<'a>(path: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    path.rfind(separator).map(|at| (&path[..at], &path[at + separator.len()..]))
}

fn repository(name: &str) -> Result<String, Refusal> {
    check_repository(name).map(|()| name.to_owned()).map_err(|reason| Refusal::new(400, "NAME_INVALID", reason))
}

fn digest(text: &str) -> Result<Digest, Refusal> {
    Digest::parse(text).map_err(|error| Refusal::new(400, "DIGEST_INVALID", &error.to_string()))
}

fn target(text: &str) -> Result<Target, Refusal> {
    if text.contains(':') {
        return digest(text).map(Target::Digest);
    }
    check_tag(text)
        .map(|tag| Target::Tag(tag.to_owned()))
        .map_err(|reason| Refusal::new(404, "MANIFEST_UNKNOWN", reason))
}

/// A parameter of the query, percent-decoded.
fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).next()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(|hex| hex::decode(hex).ok());
        match escaped.as_deref() {
            Some([byte]) => {
                bytes.push(*byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_routes_and_hostile_names_are_refused() {
        let of = |method: Method, path: &str| Route::of(&method, &path.parse().unwrap());
        assert_eq!(of(Method::GET, "/v2/").unwrap(), Route::Version);
        assert_eq!(
            of(Method::GET, "/v2/blobs/manifests/latest").unwrap(),
            Route::GetManifest { repository: "blobs".into(), target: Target::Tag("latest".into()) }
        );
        let hex = "a".repeat(64);
        assert!(matches!(
            of(Method::PUT, &format!("/v2/a/b/blobs/uploads/7?x=1&digest=sha256%3A{hex}")),
            Ok(Route::Finish { .. })
        ));
        assert!(matches!(of(Method::HEAD, &format!("/v2/a/blobs/sha256:{hex}")), Ok(Route::GetBlob { .. })));
        for (path, code) in [
            ("/v2/../../etc/manifests/latest", "NAME_INVALID"),
            ("/v2/a/%2e%2e/manifests/latest", "NAME_INVALID"),
            ("/v2/A/manifests/latest", "NAME_INVALID"),
            ("/v2/a/blobs/sha256:..", "DIGEST_INVALID"),
            ("/v2/a/manifests/..", "MANIFEST_UNKNOWN"),
            ("/v2/a", "UNSUPPORTED"),
            ("/", "UNSUPPORTED"),
        ] {
            assert_eq!(of(Method::GET, path).unwrap_err().code(), code, "{path}");
        }
    }
}
