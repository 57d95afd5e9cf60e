//! Serves HTTP from a component: `/` says hello, `/echo` streams the body back, `/env` shows the environment,
//! `/status/CODE` answers with that status; `/trap` and `/spin` misbehave, for tests.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, OutputStream, ResponseOutparam,
};
use wasip2::io::streams::StreamError;

struct Http;

wasip2::http::proxy::export!(Http);

impl Guest for Http {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        match path {
            "/" => text(answer, 200, "Hello from a component!\n"),
            "/echo" => echo(&request, answer),
            "/env" => text(answer, 200, &environment()),
            "/trap" => std::process::abort(),
            "/spin" => loop {
                std::hint::spin_loop();
            },
            _ => match path.strip_prefix("/status/").and_then(|code| code.parse().ok()) {
                Some(code) => text(answer, code, ""),
                None => text(answer, 404, "nothing here\n"),
            },
        }
    }
}

fn environment() -> String {
    std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect()
}

fn text(answer: ResponseOutparam, status: u16, body: &str) {
    respond(answer, status, |out| {
        // `blocking_write_and_flush` takes at most 4096 bytes at a time (wasi:io/streams).
        body.as_bytes().chunks(4096).try_for_each(|piece| out.blocking_write_and_flush(piece))
    });
}

fn echo(request: &IncomingRequest, answer: ResponseOutparam) {
    let Ok(body) = request.consume() else { return text(answer, 500, "the body was taken before\n") };
    let Ok(input) = body.stream() else { return text(answer, 500, "the body has no stream\n") };
    respond(answer, 200, |out| {
        loop {
            match out.blocking_splice(&input, 64 * 1024) {
                Ok(_) => {}
                Err(StreamError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    });
    drop(input);
    IncomingBody::finish(body);
}

/// Sends the head, then whatever `write` puts out. A caller who went away is no error of ours.
fn respond(answer: ResponseOutparam, status: u16, write: impl FnOnce(&OutputStream) -> Result<(), StreamError>) {
    let headers = Fields::new();
    let _ = headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]);
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let body = response.body().expect("a fresh response has its body");
    ResponseOutparam::set(answer, Ok(response));
    let out = body.write().expect("a fresh body has its stream");
    let written = write(&out);
    drop(out);
    if written.is_ok() {
        let _ = OutgoingBody::finish(body, None);
    }
}
