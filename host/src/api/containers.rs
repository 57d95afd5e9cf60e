//! The verbs of a container that is there.

use std::sync::Arc;

use bollard_stubs::models::{ContainerUpdateBody, ContainerUpdateResponse};

use crate::api::body;
use crate::api::call::Call;
use crate::api::reply::{Answer, Failure, done, ok};
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
    let (signal, seconds) = (call.query.get("signal").map(str::to_owned), call.query.number("t")?);
    // In a task of its own: a client that hangs up does not leave it stopped.
    let host = host.clone();
    joined(tokio::spawn(async move { host.restart(&container, signal.as_deref(), seconds).await })).await?;
    done()
}

/// Holds it where it stands.
pub(crate) async fn pause(host: &Arc<Host>, id: &str) -> Answer {
    let container = host.containers.find(id)?;
    let host = host.clone();
    joined(tokio::spawn(async move { host.pause(&container).await })).await?;
    done()
}

/// Lets it go on.
pub(crate) async fn unpause(host: &Arc<Host>, id: &str) -> Answer {
    let container = host.containers.find(id)?;
    let host = host.clone();
    joined(tokio::spawn(async move { host.unpause(&container).await })).await?;
    done()
}

/// Gives it another name.
pub(crate) async fn rename(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    host.rename(&container, call.query.get("name").unwrap_or_default()).await?;
    done()
}

/// Changes its limits and restart policy.
pub(crate) async fn update(host: &Arc<Host>, id: &str, call: Call) -> Answer {
    let wanted: ContainerUpdateBody = body::json(call.body).await?;
    let container = host.containers.find(id)?;
    let host = host.clone();
    let warnings = joined(tokio::spawn(async move { host.update(&container, &wanted).await })).await?;
    ok(&ContainerUpdateResponse { warnings: Some(warnings) })
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
    let (force, volumes) = (call.query.truth("force"), call.query.truth("v"));
    let host = host.clone();
    joined(tokio::spawn(async move { host.remove_with(&container, force, volumes).await })).await?;
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
    let attributes = [("height", rows.to_string()), ("width", columns.to_string())];
    host.events.container(&container, "resize", &attributes);
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
