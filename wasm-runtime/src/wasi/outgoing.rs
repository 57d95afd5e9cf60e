//! Outgoing HTTP: denied. The one place where a policy for it will sit.

use std::future::Future;

use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

type Done = Box<dyn Future<Output = Result<()>> + Send>;

/// Refuses every outgoing request with `HTTP-request-denied`, before any name is looked up.
#[derive(Debug, Default)]
pub(crate) struct Refuse;

impl WasiHttpHooks for Refuse {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sent: Done,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Done)>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
