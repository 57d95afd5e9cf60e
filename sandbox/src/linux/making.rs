//! Sandboxes on their way: from a plan to an answer of the zygote, and what happens when none comes. Must not know what a
//! plan says.

use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use proa_linux::zygote::protocol::{Event, Request};
use proa_linux::{Plan, Prepared, Slot};

use super::{Runtime, Sandbox, prepare_error};
use crate::error::{Error, Kind, Result};

/// How long one step of a sandbox's life may take: to be made, to execute its program, to be gone after SIGKILL. Each
/// takes milliseconds, unless a file system it mounts, opens or executes from does not answer.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// For the zygote to answer, which never waits.
const ANSWER: Duration = Duration::from_secs(5);

/// `work` within `deadline`; beyond it an error that says what was `attempted`.
pub(super) async fn in_time<T>(
    deadline: Duration,
    attempted: impl FnOnce() -> String,
    work: impl Future<Output = T>,
) -> Result<T> {
    let late = |_| Error::new(Kind::Failed, format!("{} within {} s", attempted(), deadline.as_secs()));
    tokio::time::timeout(deadline, work).await.map_err(late)
}

/// The sandbox that is made, or an error after [`DEADLINE`]: then it is abandoned, and what is made all the same is in
/// nobody's hands and deleted.
pub(super) async fn made_in_time(
    id: &str,
    making: impl Future<Output = Result<Sandbox>> + Send + 'static,
    abandon: impl Future<Output = ()>,
) -> Result<Sandbox> {
    let mut making = tokio::spawn(making);
    let late = || format!("create `{id}`: a file system that it needs may not answer, it was not ready");
    match in_time(DEADLINE, late, &mut making).await {
        Ok(Ok(made)) => made,
        Ok(Err(panicked)) => Err(Error::new(Kind::Failed, format!("create `{id}`")).caused_by(panicked)),
        Err(error) => {
            abandon.await;
            tokio::spawn(async move {
                if let Ok(Ok(sandbox)) = making.await
                    && let Err(error) = sandbox.delete().await
                {
                    tracing::error!(id = sandbox.id(), "delete what was made too late: {error}");
                }
            });
            Err(error)
        }
    }
}

impl Runtime {
    /// The common end of `create` and `confine`; cleans up after itself when it fails.
    pub(super) async fn launch(&self, id: String, plan: Plan, given: Vec<(Slot, OwnedFd)>) -> Result<Sandbox> {
        let made = made_in_time(&id, self.clone().make(id.clone(), plan, given), self.abandon(&id)).await;
        if made.is_err() {
            // Ends the process too, wherever it is stuck: the zygote then answers, and forgets it.
            self.remove_group(&id).await;
        }
        made
    }

    /// Has the zygote give up what it still makes; with no cgroup to kill it by, only the zygote knows the process.
    pub(super) async fn abandon(&self, id: &str) {
        let id = id.to_owned();
        if let Ok(connection) = self.connection().await {
            // A zygote that does not answer is one for which nothing can be done here.
            let asked = connection.ask(|ticket| Request::Abandon { ticket, id }, &[]);
            drop(tokio::time::timeout(ANSWER, asked).await);
        }
    }

    async fn make(self, id: String, plan: Plan, given: Vec<(Slot, OwnedFd)>) -> Result<Sandbox> {
        let begun = Instant::now();
        let connection = self.connection().await?;
        let prepared = tokio::task::spawn_blocking(move || (Prepared::new(&plan), plan)).await;
        let (prepared, plan) =
            prepared.map_err(|error| Error::new(Kind::Failed, "prepare a sandbox").caused_by(error))?;
        let mut prepared = prepared.map_err(prepare_error)?;
        if begun.elapsed() >= DEADLINE {
            return Err(Error::new(Kind::Failed, format!("create `{id}`: it was prepared too late")));
        }
        given.into_iter().for_each(|(slot, fd)| prepared.add(slot, fd));
        let fds: Vec<_> = prepared.descriptors.iter().map(AsFd::as_fd).collect();
        let (name, given) = (id.clone(), prepared.slots);
        match connection.ask(|ticket| Request::Create { ticket, id: name, plan, given }, &fds).await? {
            (Event::Created { pid, held, .. }, fds) => Sandbox::new(&self, &connection, id, pid, held, fds),
            _ => Err(Error::new(Kind::Failed, "the zygote answered what was not asked")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_answer_is_told_in_one_sentence() {
        let never = std::future::pending::<()>();
        let late = in_time(Duration::ZERO, || "create `x`: it was not ready".to_owned(), never).await;
        assert_eq!(late.unwrap_err().to_string(), "create `x`: it was not ready within 0 s");
        assert_eq!(in_time(DEADLINE, String::new, async { 7 }).await.unwrap(), 7);
    }
}
