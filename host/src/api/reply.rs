//! Answers: JSON, nothing, and failures with dockerd's status codes.

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use proa_registry::ErrorKind;
use proa_sandbox::Kind;
use serde::Serialize;

use crate::api::body::Body;
use crate::error::{Error, plain};

/// A refusal on its way to the client.
#[derive(Debug)]
pub(crate) struct Failure {
    pub status: StatusCode,
    pub message: String,
}

/// What every handler gives.
pub(crate) type Answer = Result<Response<Body>, Failure>;

impl Failure {
    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Failure {
        Failure { status: StatusCode::BAD_REQUEST, message: plain(&message.into()) }
    }

    /// 404 as dockerd words it.
    pub(crate) fn page_not_found() -> Failure {
        Failure { status: StatusCode::NOT_FOUND, message: "page not found".to_owned() }
    }

    /// 501, for what dockerd has and we do not yet.
    pub(crate) fn not_yet(what: &str) -> Failure {
        Failure { status: StatusCode::NOT_IMPLEMENTED, message: format!("{what} is not supported by proa yet") }
    }

    /// The answer a client sees.
    pub(crate) fn into_response(self) -> Response<Body> {
        if self.status == StatusCode::NOT_MODIFIED {
            return empty(self.status);
        }
        json(self.status, &serde_json::json!({ "message": self.message }))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { status: status(&error), message: error.sentence() }
    }
}

/// dockerd's status code for an error.
pub(crate) fn status(error: &Error) -> StatusCode {
    match error {
        Error::FindInRegistry(_) => StatusCode::NOT_FOUND,
        Error::Denied(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Error::FindContainer(_) | Error::FindImage(_) | Error::FindExec(_) | Error::FindNetwork(_) => {
            StatusCode::NOT_FOUND
        }
        Error::FindVolume(_) | Error::FindFile { .. } => StatusCode::NOT_FOUND,
        Error::AmbiguousPrefix(_) | Error::Invalid(_) | Error::Lacks { .. } | Error::StartProgram { .. } => {
            StatusCode::BAD_REQUEST
        }
        Error::ReserveName { .. } | Error::Conflict(_) | Error::Admit(_) => StatusCode::CONFLICT,
        // A plain error in dockerd, and so what it makes of every plain error.
        Error::NotPaused(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Error::NotModified => StatusCode::NOT_MODIFIED,
        Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        Error::Sandbox { source, .. } | Error::Compile { source, .. } => match source.kind() {
            Kind::NotFound | Kind::NotExecutable | Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Unavailable | Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        },
        Error::Image { source, .. } => match source.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            // A registry that denies answers like one that does not have it; dockerd makes both 404.
            ErrorKind::NotFound | ErrorKind::Denied => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        },
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_type(status, "application/json", bytes.into()),
        Err(error) => with_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string().into_bytes().into()),
    }
}

/// A JSON answer with 200.
pub(crate) fn ok(value: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, value))
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 204.
pub(crate) fn done() -> Answer {
    Ok(empty(StatusCode::NO_CONTENT))
}

/// An answer of a given media type.
pub(crate) fn with_type(status: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The headers that dockerd puts on every answer.
pub(crate) fn add_headers(headers: &mut HeaderMap) {
    headers.insert("api-version", HeaderValue::from_static("1.51"));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert("server", HeaderValue::from_static(concat!("proa/", env!("CARGO_PKG_VERSION"), " (linux)")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_dockerd_s_status_codes() {
        let text = || "x".to_owned();
        let table = [
            (Error::FindContainer(text()), 404),
            (Error::FindImage(text()), 404),
            (Error::Invalid(text()), 400),
            (Error::AmbiguousPrefix(text()), 400),
            (Error::Lacks { isolation: proa_sandbox::Isolation::Linux, reason: text() }, 400),
            (Error::ReserveName { name: text(), holder: text() }, 409),
            (Error::Conflict(text()), 409),
            (Error::NotPaused(text()), 500),
            (Error::NotModified, 304),
            (Error::Unsupported(text()), 501),
            (Error::StartProgram { code: 127, message: text() }, 400),
            (Error::Stopping, 503),
        ];
        for (error, code) in table {
            assert_eq!(status(&error).as_u16(), code, "{error:?}");
        }
    }

    #[test]
    fn the_words_clients_look_for_are_docker_s() {
        assert_eq!(Failure::from(Error::FindContainer("x".into())).message, "No such container: x");
        assert_eq!(Failure::from(Error::FindImage("x:latest".into())).message, "No such image: x:latest");
    }
}
