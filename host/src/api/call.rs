//! One request taken apart: version, path, query.

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request};

use crate::api::body::Sent;
use crate::api::reply::Failure;
use crate::api::{OLDEST, VERSION};

/// One request taken apart.
#[derive(Debug)]
pub(crate) struct Call {
    pub method: Method,
    /// What the path asks for, or the newest.
    pub version: (u32, u32),
    /// The path's parts behind the version, decoded.
    pub path: Vec<String>,
    pub query: Query,
    pub headers: HeaderMap,
    pub upgrade: OnUpgrade,
    pub body: Sent,
}

/// The parameters behind the question mark, in their order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Call {
    /// Takes a request apart.
    ///
    /// # Errors
    /// A version that is not spoken, or a path that is not percent-encoded UTF-8.
    pub(crate) fn new(mut request: Request<Incoming>) -> Result<Call, Failure> {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        let parts = head.uri.path().split('/').filter(|part| !part.is_empty());
        let mut path = parts.map(decode).collect::<Option<Vec<_>>>().ok_or_else(Failure::page_not_found)?;
        let version = match path.first().and_then(|first| parse_version(first)) {
            Some(version) => {
                path.remove(0);
                check_version(version)?;
                version
            }
            None => VERSION,
        };
        let query = Query::parse(head.uri.query().unwrap_or_default());
        Ok(Call { method: head.method, version, path, query, headers: head.headers, upgrade, body: body.into() })
    }

    /// Whether the client asks to take the connection over.
    pub(crate) fn wants_upgrade(&self) -> bool {
        self.headers.contains_key(hyper::header::UPGRADE)
    }
}

impl Query {
    /// Parses `a=b&c=d`.
    pub(crate) fn parse(text: &str) -> Query {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        };
        Query(text.split('&').filter(|part| !part.is_empty()).filter_map(pair).collect())
    }

    /// The first value of `name` that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Every value of `name`, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Docker's idea of truth: everything but nothing, `0`, `no`, `false` and `none`.
    pub(crate) fn truth(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "0" | "no" | "false" | "none"))
    }

    /// A number, if it is there.
    ///
    /// # Errors
    /// A value that is none.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let bad = |value: &str| Failure::bad_request(format!("invalid value \"{value}\" for parameter {name}"));
        self.get(name).map(|value| value.parse().map_err(|_| bad(value))).transpose()
    }
}

fn parse_version(part: &str) -> Option<(u32, u32)> {
    let (major, minor) = part.strip_prefix('v')?.split_once('.')?;
    // Rust would also read a sign.
    if !part[1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn check_version(version: (u32, u32)) -> Result<(), Failure> {
    let (major, minor) = version;
    if version > VERSION {
        return Err(Failure::bad_request(format!(
            "client version {major}.{minor} is too new. Maximum supported API version is {}.{}",
            VERSION.0, VERSION.1
        )));
    }
    if version < OLDEST {
        return Err(Failure::bad_request(format!(
            "client version {major}.{minor} is too old. Minimum supported API version is {}.{}, please upgrade your client to a newer version",
            OLDEST.0, OLDEST.1
        )));
    }
    Ok(())
}

fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_docker_s_clients_write_it() {
        let query = Query::parse("filters=%7B%22name%22%3A%5B%22a+b%22%5D%7D&all=1&names=a&names=b&size=false&x");
        assert_eq!(query.get("filters"), Some("{\"name\":[\"a b\"]}"));
        assert!(query.truth("all") && !query.truth("size") && !query.truth("x") && !query.truth("none"));
        assert!(query.number::<u16>("all").is_ok_and(|all| all == Some(1)));
        assert!(query.number::<u16>("names").is_err());
    }

    #[test]
    fn versions_out_of_range_are_refused() {
        assert_eq!(parse_version("v1.43"), Some((1, 43)));
        assert_eq!(parse_version("version"), None);
        assert_eq!((parse_version("v1.+51"), parse_version("v+1.51")), (None, None));
        assert!(check_version((1, 23)).is_err() && check_version((1, 52)).is_err() && check_version((1, 24)).is_ok());
    }

    #[test]
    fn broken_percent_encoding_is_no_name() {
        assert_eq!(decode("a%2Fb").as_deref(), Some("a/b"));
        for text in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
