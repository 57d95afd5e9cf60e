//! `POST /containers/{id}/attach`: a client's terminal on a container's streams. Output is a follower of the log, so a
//! client that attaches before the start sees every byte from the start.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use proa_sandbox::Stdin;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use crate::api::body::{Body, Sent};
use crate::api::call::Call;
use crate::api::framing::{Framing, Wanted, media_type};
use crate::api::reply::{Answer, Failure, with_type};
use crate::detach::{DetachKeys, Typed, Watch};
use crate::error::Error;
use crate::host::Host;
use crate::state::follower::Patience;
use crate::state::{Container, Follower, Status, Until};

/// Attaches: a taken-over connection where the client asks for one, else a streamed body.
pub(crate) fn attach(host: &Arc<Host>, id: &str, call: Call) -> Answer {
    let container = host.containers.find(id)?;
    let keys = call.query.get("detachKeys").unwrap_or_default();
    let keys =
        DetachKeys::parse(keys).map_err(|_| Failure::bad_request(format!("Invalid detach keys ({keys}) provided")))?;
    if container.status() == Status::Paused {
        let sentence = format!("container {id} is paused, unpause the container before attach");
        return Err(Error::Conflict(sentence).into());
    }
    let (tty, stdin_once, open_stdin) = container.with(|record| {
        let config = &record.config;
        (config.tty == Some(true), config.stdin_once == Some(true), config.open_stdin == Some(true))
    });
    host.events.container(&container, "attach", &[]);
    let (logs, live) = (call.query.truth("logs"), call.query.truth("stream"));
    let wanted = Wanted {
        stdout: call.query.truth("stdout"),
        stderr: call.query.truth("stderr"),
        framed: !tty,
        timestamps: false,
        details: false,
    };
    let offset = if logs { 0 } else { container.log().tail().len };
    let until = if live { Until::RunEnds } else { Until::Now };
    let follower = Follower::new(container.log(), offset, until, Patience::Attached);
    let has_past = container.log().tail().len > offset;
    let framing = Framing::new(wanted);
    // As dockerd does: only a terminal has keys to leave it by.
    let input = || Input { once: stdin_once, watch: tty.then(|| Watch::new(keys)) };
    let stdin = (live && open_stdin && call.query.truth("stdin")).then(input);
    let media_type = media_type(!tty, call.version);

    if !call.wants_upgrade() {
        if let Some(input) = stdin {
            tokio::spawn(feed_body(container, call.body, input.once));
        }
        return Ok(with_type(StatusCode::OK, media_type, Body::stream(follow(follower, framing))));
    }
    tokio::spawn(taken_over(host.clone(), container, call.upgrade, (follower, framing), stdin, has_past));
    Ok(switching(media_type))
}

/// How long output waits for the client to have read the head: docker-py reads heads through a buffer, and loses what
/// comes into it with one. Programs take about as long to start.
pub(crate) const LULL: Duration = Duration::from_millis(10);

/// 101: the connection is the client's and ours from here.
pub(crate) fn switching(media_type: &'static str) -> Response<Body> {
    let mut response = with_type(StatusCode::SWITCHING_PROTOCOLS, media_type, Body::empty());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
    response
}

/// The socket behind a taken-over connection, and what the client sent too early.
pub(crate) async fn take_over(upgrade: OnUpgrade) -> Result<(UnixStream, Bytes), Failure> {
    let lost = |what: String| Failure::bad_request(format!("take the connection over: {what}"));
    let upgraded = upgrade.await.map_err(|error| lost(error.to_string()))?;
    let parts = upgraded.downcast::<TokioIo<UnixStream>>().map_err(|_| lost("it is no unix socket".to_owned()))?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

/// A follower as a stream of what goes over the connection.
pub(crate) fn follow(follower: Follower, framing: Framing) -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
    stream::unfold((follower, framing), |(mut follower, mut framing)| async move {
        loop {
            let bytes = match follower.next().await {
                Ok(Some(entries)) => framing.encode(&entries),
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!("read a container's log: {error}");
                    return None;
                }
            };
            if !bytes.is_empty() {
                return Some((bytes, (follower, framing)));
            }
        }
    })
}

/// What a client may type.
struct Input {
    /// Its half-close ends the guest's input.
    once: bool,
    watch: Option<Watch>,
}

async fn taken_over(
    host: Arc<Host>,
    container: Arc<Container>,
    upgrade: OnUpgrade,
    (mut follower, mut framing): (Follower, Framing),
    stdin: Option<Input>,
    has_past: bool,
) {
    let Ok((socket, early)) = take_over(upgrade).await else { return };
    let Ok(gone) = rustix::io::fcntl_dupfd_cloexec(&socket, 3) else { return };
    let (reader, mut writer) = socket.into_split();
    let mut input = match stdin {
        Some(input) => tokio::spawn(feed(container.clone(), early.chain_reader(reader), input)),
        None => tokio::spawn(watch_for_end(reader)),
    };
    let left = async {
        if !matches!((&mut input).await, Ok(Left::ByKeys)) {
            std::future::pending::<()>().await;
        }
    };
    let output = async {
        // Only for what is there already: a program that is yet to start would seem slower than it is.
        if has_past {
            tokio::time::sleep(LULL).await;
        }
        while let Ok(Some(entries)) = follower.next().await {
            let bytes = framing.encode(&entries);
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = output => {}
        () = hung_up(gone) => {}
        () = left => host.events.container(&container, "detach", &[]),
    }
    // Told to the client before the reading half is let go, which would look like a broken connection.
    let _ = writer.shutdown().await;
    input.abort();
}

/// How a client stopped typing.
pub(crate) enum Left {
    /// It is gone, or has said all it has to say.
    Silently,
    /// By the keys that leave a terminal.
    ByKeys,
}

/// Gives a guest what its client types, until the client is silent, leaves, or the guest reads no more.
pub(crate) async fn type_in(reader: &mut (impl AsyncRead + Unpin), stdin: &mut Stdin, watch: Option<Watch>) -> Left {
    let (mut buffer, mut watch) = (vec![0; 32 * 1024], watch);
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        let bytes = &buffer[..length];
        let (written, leaves) = match watch.as_mut().map(|watch| watch.typed(bytes)) {
            None => (stdin.write(bytes).await, false),
            Some(Typed::Input(bytes)) => (stdin.write(&bytes).await, false),
            Some(Typed::Detach(bytes)) => (stdin.write(&bytes).await, true),
        };
        if leaves {
            return Left::ByKeys;
        }
        if written.is_err() {
            break;
        }
    }
    Left::Silently
}

/// What was sent early, then the socket.
pub(crate) trait ChainReader {
    fn chain_reader(self, reader: OwnedReadHalf) -> impl AsyncRead + Send + Unpin + 'static;
}

impl ChainReader for Bytes {
    fn chain_reader(self, reader: OwnedReadHalf) -> impl AsyncRead + Send + Unpin + 'static {
        AsyncReadExt::chain(std::io::Cursor::new(self), reader)
    }
}

/// How often a client is looked after whose container prints nothing: what is not written tells nobody that its reader is
/// gone, and every such connection would hold a descriptor until the container's end.
const LOOK: Duration = Duration::from_secs(5);

async fn hung_up(socket: std::os::fd::OwnedFd) {
    while !is_hung_up(&socket) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the client has closed the connection, not only its writing half.
fn is_hung_up(socket: impl std::os::fd::AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(&socket, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// A client that may not write may still go away; nothing else is expected of it.
async fn watch_for_end(mut reader: OwnedReadHalf) -> Left {
    let mut buffer = [0; 512];
    while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
    Left::Silently
}

/// Feeds what the client writes to the guest, from its start on; the client's half-close ends the guest's input where
/// it was opened for one client only.
async fn feed(container: Arc<Container>, mut reader: impl AsyncRead + Unpin, input: Input) -> Left {
    let Some(mut stdin) = stdin(&container).await else { return Left::Silently };
    let left = type_in(&mut reader, &mut stdin, input.watch).await;
    if let Left::Silently = left {
        end(&container, &mut stdin, input.once).await;
    }
    left
}

async fn feed_body(container: Arc<Container>, mut body: Sent, once: bool) {
    let Some(mut stdin) = stdin(&container).await else { return };
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(bytes) = frame.into_data()
            && stdin.write(&bytes).await.is_err()
        {
            return;
        }
    }
    end(&container, &mut stdin, once).await;
}

async fn end(container: &Container, stdin: &mut Stdin, once: bool) {
    if once && let Err(error) = stdin.close().await {
        // The guest may have ended first.
        tracing::debug!(container = container.id(), "close its input: {error}");
    }
}

/// The guest's input once it runs; `None` when it never will.
async fn stdin(container: &Container) -> Option<Stdin> {
    let mut news = container.news();
    let ready = news.wait_for(|news| news.status.is_running() || news.gone).await;
    let gone = ready.is_ok_and(|news| news.gone);
    if gone { None } else { container.sandbox()?.stdin() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_only_finished_writing_is_still_there() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!is_hung_up(&ours));
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!is_hung_up(&ours));
        drop(theirs);
        assert!(is_hung_up(&ours));
    }
}
