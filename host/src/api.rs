//! The Docker Engine API, 1.24 to 1.51: one resource a file, routes to [`Host`], nothing more.
//!
//! Additions of ours: `POST /proa/stop` (ends everything, then the host), `POST /proa/plan` (the body of
//! `containers/create`; the plan as text), `POST /proa/check` (reads all that is stored; tells, and with `repair=1` puts
//! right, what a disk has changed of it), four more values of `HostConfig.Isolation`, and `Proa` in `/info`.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::host::Host;

mod archive;
mod attach;
mod auth;
mod body;
mod call;
mod changes;
mod commit;
mod contain;
mod containers;
mod create;
mod df;
mod events;
mod exec;
mod filters;
mod framing;
mod health;
mod image_archive;
mod image_filter;
mod image_inspect;
mod image_remove;
mod image_transfer;
mod images;
mod inspect;
mod list;
mod logs;
mod networks;
mod proa;
mod prune;
mod reply;
mod route;
mod stats;
mod system;
mod top;
mod volumes;
mod wait;

pub use body::Body;
use call::{Call, Query};

/// The newest version spoken, and the oldest.
pub const VERSION: (u32, u32) = (1, 51);
pub const OLDEST: (u32, u32) = (1, 24);

/// What a body of `POST /containers/create` asks for: the parser alone, as `fuzz/` drives it.
///
/// # Errors
/// The sentence a client would see.
pub fn read_create(query: &str, body: &[u8]) -> Result<crate::request::Request, String> {
    create::parse(&Query::parse(query), body).map_err(|failure| failure.message)
}

/// What the filters of a query are read as: the parser alone, as `fuzz/` drives it.
///
/// # Errors
/// The sentence a client would see.
pub fn read_filters(query: &str, known: &[&str]) -> Result<String, String> {
    let filters = filters::Filters::read(&Query::parse(query), known).map_err(|failure| failure.message)?;
    let mut values: Vec<String> = known.iter().map(|name| format!("{name}={:?}", filters.values(name))).collect();
    values.sort();
    Ok(values.join(" "))
}

/// Answers one request; errors are answers too.
pub async fn answer(host: Arc<Host>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let head = request.method() == hyper::Method::HEAD;
    let answered = match Call::new(request) {
        Ok(call) => contain::contained(route::route(host, call)).await,
        Err(failure) => Err(failure),
    };
    let mut response = answered.unwrap_or_else(reply::Failure::into_response);
    reply::add_headers(response.headers_mut());
    if head {
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}
