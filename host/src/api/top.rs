//! `GET /containers/{id}/top`: the processes of a container.

use std::sync::Arc;

use bollard_stubs::models::ContainerTopResponse;
use proa_sandbox::Sandbox;

use crate::api::call::Call;
use crate::api::reply::{Answer, ok};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::images::run_blocking;
use crate::processes::{self, Process, Request};
use crate::state::Container;

/// Docker's table, by the arguments of `ps` that the client gives.
pub(crate) async fn top(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    let request = Request::parse(call.query.get("ps_args").unwrap_or_default())?;
    let sandbox = container.running()?;
    let table = match sandbox.processes().await {
        Some(pids) => run_blocking(move || processes::table(&processes::read_all(&pids), &request)).await?,
        None => {
            let own = guest(&container, &sandbox).await?;
            run_blocking(move || processes::table(&own, &request)).await?
        }
    };
    ok(&ContainerTopResponse { titles: Some(table.titles), processes: Some(table.rows) })
}

/// A Wasm guest has no process of its own: one row for itself, in its worker's.
async fn guest(container: &Container, sandbox: &Sandbox) -> Result<Vec<Process>> {
    let failed = |source| Error::Sandbox { attempt: "measure container", container: container.id().to_owned(), source };
    let usage = sandbox.usage().await.map_err(failed)?;
    let command = container.with(|record| crate::request::arguments(&record.config).join(" "));
    let worker = sandbox.pid().and_then(processes::read);
    Ok(worker.map(|worker| worker.guest(command, usage.cpu, usage.memory)).into_iter().collect())
}
