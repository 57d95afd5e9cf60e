//! Answers, and refusals in the distribution specification's words.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};

use crate::error::{Error, ErrorKind};

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// A request that is not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: &str) -> Refusal {
        Refusal { status, code, message: message.to_owned() }
    }

    #[cfg(test)]
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn into_answer(self) -> Answer {
        let body = serde_json::json!({ "errors": [{ "code": self.code, "message": self.message }] });
        json(self.status, &body)
    }
}

/// What the client is told is not what the log is told: paths of this machine stay here.
impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        match error {
            Error::NoBlob { .. } => Refusal::new(404, "BLOB_UNKNOWN", "the blob is not known"),
            Error::NoImage { .. } => Refusal::new(404, "MANIFEST_UNKNOWN", "the manifest is not known"),
            Error::Digest { .. } | Error::Corrupt { .. } => Refusal::new(400, "DIGEST_INVALID", &error.to_string()),
            Error::TooLarge { .. } | Error::TooLong { .. } => Refusal::new(413, "SIZE_INVALID", &error.to_string()),
            Error::Document { .. } => Refusal::new(400, "MANIFEST_INVALID", &error.to_string()),
            error if error.kind() == ErrorKind::Invalid => Refusal::new(400, "UNSUPPORTED", &error.to_string()),
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "answer a registry request");
                Refusal::new(500, "UNKNOWN", "the registry failed")
            }
        }
    }
}

/// An answer without a body.
pub(super) fn empty(status: u16) -> Answer {
    body(status, Bytes::new())
}

pub(super) fn json(status: u16, value: &serde_json::Value) -> Answer {
    let mut answer = body(status, value.to_string().into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

pub(super) fn body(status: u16, bytes: Bytes) -> Answer {
    let length = bytes.len();
    stream(status, length as u64, Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

pub(super) fn stream(status: u16, length: u64, body: UnsyncBoxBody<Bytes, io::Error>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    answer
        .headers_mut()
        .insert(HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));
    answer
}

pub(super) fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// The answer to HEAD: the headers of GET.
pub(super) fn without_body(answer: Answer) -> Answer {
    answer.map(|_| Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync())
}
