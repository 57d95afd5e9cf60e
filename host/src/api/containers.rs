//! The verbs of a container that is there.

use std::sync::Arc;

use crate::api::call::Call;
use crate::api::reply::{Answer, Failure, done};
use crate::error::Error;
use crate::host::Host;

/// Starts it.
pub(crate) async fn start(host: &Arc<Host>, id: &str) -> Answer {
    let container = host.containers.find(id)?;
    // In a task of its own: a client that hangs up does not leave a container half started.
    let host = host.clone();
    joined(tokio::spawn(async move { host.start(&container).await })).await?;
    done()
}

/// Stops it, with a grace time.
pub(crate) async fn stop(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    host.stop(&container, call.query.get("signal"), call.query.number("t")?).await?;
    done()
}

/// Stops it if it runs, and starts it.
pub(crate) async fn restart(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    match host.stop(&container, call.query.get("signal"), call.query.number("t")?).await {
        Ok(()) | Err(Error::NotModified) => {
            let answer = start(host, container.id()).await?;
            host.events.container(&container, "restart", &[]);
            Ok(answer)
        }
        Err(error) => Err(error.into()),
    }
}

/// Sends it a signal.
pub(crate) async fn kill(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    host.kill(&container, call.query.get("signal").unwrap_or_default()).await?;
    done()
}

/// Removes it.
pub(crate) async fn remove(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    if call.query.truth("link") {
        return Err(Failure::not_yet("removing a link"));
    }
    let container = host.containers.find(id)?;
    let force = call.query.truth("force");
    let host = host.clone();
    joined(tokio::spawn(async move { host.remove(&container, force).await })).await?;
    done()
}

/// Sets the size of its terminal.
pub(crate) async fn resize(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    let (rows, columns) = size(call)?;
    let sandbox = container.running()?;
    sandbox.resize(rows, columns).await.map_err(|source| Error::Sandbox {
        attempt: "resize the terminal of",
        container: container.id().to_owned(),
        source,
    })?;
    Ok(crate::api::reply::empty(hyper::StatusCode::OK))
}

/// `h` and `w`.
pub(crate) fn size(call: &Call) -> Result<(u16, u16), Failure> {
    let number = |name: &str| match call.query.number::<u16>(name) {
        Ok(Some(number)) => Ok(number),
        _ => Err(Failure::bad_request(format!("invalid resize {name}"))),
    };
    Ok((number("h")?, number("w")?))
}

/// What came of a task of its own, which a client that hangs up does not end.
pub(crate) async fn joined<T>(task: tokio::task::JoinHandle<crate::Result<T>>) -> Result<T, Failure> {
    match task.await {
        Ok(result) => Ok(result?),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Stopping.into()),
    }
}
