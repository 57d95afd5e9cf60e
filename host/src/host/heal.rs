//! Containers that run again: after a pause where their restart policy says so, and when a host opens.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::host::Host;
use crate::state::{Container, Status};
use crate::supervisor::{self, write_later};

impl Host {
    /// Starts a container that waits for its next run, after `pause`, unless somebody ends the waiting.
    pub(crate) fn revive(self: &Arc<Self>, container: &Arc<Container>, pause: Duration) {
        tokio::spawn(self.clone().next_run(container.clone(), pause));
    }

    /// Boxed: the supervisor of the run that begins here calls this again at its end.
    fn next_run(
        self: Arc<Self>,
        container: Arc<Container>,
        mut pause: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            while self.waited(&container, pause).await {
                let _turn = container.turn.lock().await;
                supervisor::until_free(&container).await;
                if container.status() != Status::Restarting {
                    return;
                }
                let error = match self.launch(&container, false).await {
                    Ok(()) => return,
                    // The next host goes on here.
                    Err(Error::Stopping) => return,
                    Err(error) => supervisor::explain_start(error, &container),
                };
                let Some(again) = self.give_up_again(&container, &error).await else { return };
                pause = again;
            }
        })
    }

    /// Ends the waiting for a next run; `false` where the container did not wait.
    pub(crate) async fn cease(&self, container: &Arc<Container>, by_hand: bool) -> bool {
        if container.status() != Status::Restarting {
            return false;
        }
        // Whoever starts it at this moment has the turn: afterwards it runs, or it waits still.
        let _turn = container.turn.lock().await;
        if container.status() != Status::Restarting {
            return false;
        }
        for result in [container.make_last(by_hand), container.retire()] {
            if let Err(error) = result {
                write_later(container, &error);
            }
        }
        true
    }

    /// Whether the container still waits for its next run after `pause`.
    async fn waited(&self, container: &Container, pause: Duration) -> bool {
        let mut news = container.news();
        let left = news.wait_for(|news| news.status != Status::Restarting || news.gone);
        tokio::time::timeout(pause, left).await.is_err()
    }

    /// A restart that failed; the pause before the next try, where there is to be one.
    async fn give_up_again(&self, container: &Arc<Container>, error: &Error) -> Option<Duration> {
        if let Some(sandbox) = container.sandbox() {
            supervisor::delete(container, &sandbox).await;
        }
        tracing::warn!(container = container.id(), "start it again: {}", error.sentence());
        let (pause, written) = container.fail_again(super::start_code(error), &error.sentence());
        if let Err(error) = written {
            write_later(container, &error);
        }
        supervisor::died(self, container);
        pause
    }
}
