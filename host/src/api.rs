//! The Docker Engine API, 1.24 to 1.51: one resource a file, routes to [`Host`], nothing more.
//!
//! Additions of ours: `POST /proa/stop` (ends everything, then the host), `POST /proa/plan` (the body of
//! `containers/create`; the plan as text), four more values of `HostConfig.Isolation`, and `Proa` in `/info`.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::host::Host;

mod attach;
mod body;
mod call;
mod containers;
mod create;
mod events;
mod exec;
mod filters;
mod framing;
mod image_transfer;
mod images;
mod inspect;
mod list;
mod logs;
mod networks;
mod proa;
mod reply;
mod route;
mod stats;
mod system;
mod wait;

pub use body::Body;
use call::Call;

/// The newest version spoken, and the oldest.
pub const VERSION: (u32, u32) = (1, 51);
pub const OLDEST: (u32, u32) = (1, 24);

/// Answers one request; errors are answers too.
pub async fn answer(host: Arc<Host>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let head = request.method() == hyper::Method::HEAD;
    let answered = match Call::new(request) {
        Ok(call) => route::route(host, call).await,
        Err(failure) => Err(failure),
    };
    let mut response = answered.unwrap_or_else(reply::Failure::into_response);
    reply::add_headers(response.headers_mut());
    if head {
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}
