//! How containers end: stop, kill, wait, remove, and the end of everything.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use proa_sandbox::{Kind, Sandbox};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::state::record::Content;
use crate::state::status::Refusal;
use crate::state::{Container, Status};
use crate::supervisor;

/// What a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    NotRunning,
    NextExit,
    Removed,
}

/// The numbers of the signals that have names; `SIG` may be left out, and a number stands for itself.
const SIGNALS: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

const TERM: i32 = 15;
const KILL: i32 = 9;

/// What `docker stop` waits before it kills, in seconds.
const GRACE: i64 = 10;

/// How long the answer to KILL waits for the end.
const ENDING: Duration = Duration::from_secs(10);

impl Host {
    /// Sends a signal by name or number; empty is KILL.
    ///
    /// As dockerd does: a container that is signalled by hand is not restarted when it ends, unless it names a stop signal
    /// of its own and this is another one.
    pub async fn kill(&self, container: &Arc<Container>, signal: &str) -> Result<()> {
        let number = if signal.is_empty() { KILL } else { parse_signal(signal)? };
        if self.cease(container, true).await {
            return Ok(());
        }
        let sandbox = container.running().map_err(|_| {
            Error::Conflict(format!("cannot kill container: {0}: container {0} is not running", container.id()))
        })?;
        let failed =
            |source| Error::Sandbox { attempt: "signal container", container: container.id().to_owned(), source };
        let own = container.with(|record| record.config.stop_signal.clone()).filter(|signal| !signal.is_empty());
        let own = own.and_then(|signal| parse_signal(&signal).ok());
        let last = number == KILL || own.is_none_or(|own| own == number);
        if let Err(error) = if last { container.make_last(true) } else { container.note_stop() } {
            supervisor::write_later(container, &error);
        }
        // What is on its way to be paused is paused first, so that no signal waits unseen.
        let motion = container.motion.read().await;
        sandbox.signal(number).await.map_err(failed)?;
        self.signalled(container, number);
        // As dockerd does: what is to end it, a paused container sees.
        if last {
            self.go_on_if_paused(container, &sandbox).await?;
        }
        drop(motion);
        if number == KILL {
            // As dockerd does: whoever is answered can remove it. What cannot end, such as a program that waits for a dead
            // disk, is told to have been signalled.
            let mut news = container.news();
            let ended = news.wait_for(|news| news.gone || !news.status.is_active());
            let _ = tokio::time::timeout(ENDING, ended).await;
        }
        Ok(())
    }

    /// Asks a container to end, and ends it after `seconds` (its own or Docker's grace by default; negative waits for
    /// ever).
    pub async fn stop(&self, container: &Arc<Container>, signal: Option<&str>, seconds: Option<i64>) -> Result<()> {
        if !container.status().is_active() {
            return Err(Error::NotModified);
        }
        self.stop_by(container, true, signal, seconds).await
    }

    async fn stop_by(
        &self,
        container: &Arc<Container>,
        by_hand: bool,
        signal: Option<&str>,
        seconds: Option<i64>,
    ) -> Result<()> {
        // A restart that is under way when it is asked is over when the turn comes.
        if !self.cease(container, by_hand).await {
            if let Err(error) = container.make_last(by_hand) {
                supervisor::write_later(container, &error);
            }
            self.end(container, signal, seconds).await?;
            self.cease(container, by_hand).await;
        }
        // Told when nothing is left of the run, and behind its `die`; another run may have begun meanwhile.
        let _ = container.news().wait_for(|news| news.free || news.gone || news.status.is_active()).await;
        self.events.container(container, "stop", &[]);
        Ok(())
    }

    /// Ends a run: asked first, then by force.
    pub(crate) async fn end(&self, container: &Container, signal: Option<&str>, seconds: Option<i64>) -> Result<()> {
        let Ok(sandbox) = container.running() else { return Ok(()) };
        let (own_signal, own_grace) =
            container.with(|record| (record.config.stop_signal.clone(), record.config.stop_timeout));
        let number = match signal.map(str::to_owned).or(own_signal).filter(|signal| !signal.is_empty()) {
            Some(signal) => parse_signal(&signal)?,
            None => TERM,
        };
        let failed =
            |source| Error::Sandbox { attempt: "stop container", container: container.id().to_owned(), source };
        let mut news = container.news();
        let heard = {
            let _motion = container.motion.read().await;
            let heard = match self.send(container, &sandbox, number).await {
                Ok(()) => true,
                // A Wasm guest knows three signals; by what it does not know it is not asked.
                Err(source) if source.kind() == Kind::Invalid => false,
                Err(source) => return Err(failed(source)),
            };
            self.go_on_if_paused(container, &sandbox).await?;
            heard
        };
        let ended = news.wait_for(|news| !news.status.is_running());
        match if heard { seconds.or(own_grace).unwrap_or(GRACE) } else { 0 } {
            grace @ 0.. => {
                if tokio::time::timeout(Duration::from_secs(grace.cast_unsigned()), ended).await.is_ok() {
                    return Ok(());
                }
            }
            _ => {
                let _ = ended.await;
                return Ok(());
            }
        }
        container.force();
        if let Ok(sandbox) = container.running() {
            self.send(container, &sandbox, KILL).await.map_err(failed)?;
        }
        let _ = news.wait_for(|news| !news.status.is_running()).await;
        Ok(())
    }

    /// Waits; the answer is the exit code, `None` when nobody knows it.
    pub fn wait(
        &self,
        container: Arc<Container>,
        condition: Condition,
    ) -> impl Future<Output = (Option<u8>, String)> + Send + 'static {
        let mut news = container.news();
        let exits = news.borrow().exits;
        async move {
            let _ = news
                .wait_for(|news| match condition {
                    // As dockerd does: the end of a run is an end, also where another one follows.
                    Condition::NotRunning => !news.status.is_active() || news.exits > exits,
                    Condition::NextExit => news.exits > exits || news.gone,
                    Condition::Removed => news.gone,
                })
                .await;
            // Not the record's code: the next run may have begun.
            let code = news.borrow().code;
            (code, container.with(|record| record.error.clone()))
        }
    }

    /// Removes a container; one that runs only by `force`, which kills it.
    pub async fn remove(&self, container: &Arc<Container>, force: bool) -> Result<()> {
        self.remove_with(container, force, false).await
    }

    /// Removes a container and, with `volumes`, the anonymous volumes that no other has.
    pub async fn remove_with(&self, container: &Arc<Container>, force: bool, volumes: bool) -> Result<()> {
        let name = container.with(|record| record.name.clone());
        let status = container.status();
        if status.is_active() {
            if !force {
                let first = if status == Status::Paused { "unpause and then " } else { "" };
                return Err(Error::Conflict(format!(
                    "cannot remove container \"/{name}\": container is {status}: {first}stop the container before removing or force remove"
                )));
            }
            container.force();
            // Nothing is written: the record goes with the container.
            let _ = container.make_last(false);
            self.cease(container, false).await;
            if let Ok(sandbox) = container.running() {
                let _motion = container.motion.read().await;
                // It may end by itself at any moment; what counts is that it does not run afterwards.
                let _ = sandbox.signal(KILL).await;
                self.signalled(container, KILL);
            }
            let _ = container.news().wait_for(|news| !news.status.is_running()).await;
            self.cease(container, false).await;
        }
        let auto_remove = container.with(|record| record.host_config.auto_remove == Some(true));
        if auto_remove && container.news().borrow().exits > 0 {
            // Its supervisor removes it; two removals would only race. Where it could not, this one tries again.
            let _ = container.news().wait_for(|news| news.gone || news.status == Status::Dead).await;
            if container.status() != Status::Dead {
                return Ok(());
            }
        }
        let _turn = container.turn.lock().await;
        supervisor::until_free(container).await;
        self.take_away(container, &name, volumes).await
    }

    /// Removes a container that ended by itself and was to go then.
    pub(crate) async fn discard(&self, container: &Arc<Container>) {
        let name = container.with(|record| record.name.clone());
        if let Err(error) = self.take_away(container, &name, false).await {
            tracing::error!(container = container.id(), "{}", error.sentence());
        }
    }

    /// Ends every container, then the runtimes. The server goes when this has answered.
    pub async fn stop_all(&self) -> Result<()> {
        let Some(runtimes) = self.runtimes.write().await.take() else { return Err(Error::Stopping) };
        let containers = self.containers.all();
        let stops = containers.iter().map(|container| async {
            // Not by hand: the next host starts again what is wanted always. What waits for its next run does so too.
            if container.status().is_running()
                && let Err(error) = self.stop_by(container, false, None, None).await
            {
                tracing::error!(container = container.id(), "{}", error.sentence());
            }
            supervisor::until_free(container).await;
        });
        join_all(stops).await;
        let result = runtimes.stop().await.map_err(|source| Error::StopRuntimes { source });
        self.stopped.send_replace(true);
        result
    }

    /// Removes images, what nothing else needs of them, and the code that was compiled of them.
    pub(crate) async fn remove_images(&self, digests: &[proa_registry::Digest]) -> Result<crate::images::Removed> {
        let mut removed = self.images.remove(digests, self.images_in_use()).await?;
        let all = self.containers.all();
        let used = all.iter().filter_map(|container| {
            container.with(|record| match &record.content {
                Content::Module { folder, .. } => Some(folder.clone()),
                Content::Layers { .. } => None,
            })
        });
        let used = used.collect();
        removed.bytes += self.runtimes().await?.forget(std::mem::take(&mut removed.modules), used).await;
        Ok(removed)
    }

    /// What no garbage collection may take: the images of all containers.
    pub fn images_in_use(&self) -> HashSet<proa_registry::Digest> {
        let all = self.containers.all();
        let digests = all.iter().flat_map(|container| {
            container.with(|record| [record.image_id.parse().ok(), record.manifest.parse().ok()])
        });
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        digests.flatten().chain(damaged.iter().flat_map(|damaged| damaged.digests())).collect()
    }

    async fn take_away(&self, container: &Arc<Container>, name: &str, volumes: bool) -> Result<()> {
        match container.begin_removal() {
            Ok(()) => {}
            Err(Refusal::Already | Refusal::Removing) => {
                return Err(Error::Conflict(format!("removal of container {name} is already in progress")));
            }
            Err(
                Refusal::Running | Refusal::NotRunning | Refusal::Paused | Refusal::NotPaused | Refusal::Restarting,
            ) => {
                return Err(Error::Conflict(format!("cannot remove container \"/{name}\": container is running")));
            }
        }
        if let Some(sandbox) = container.sandbox() {
            supervisor::delete(container, &sandbox).await;
        }
        // What a guest wrote may be anything, of any depth and number: not for a thread that serves others.
        let folder = container.folder().to_owned();
        let removed = tokio::task::spawn_blocking(move || proa_registry::remove_tree(&folder)).await;
        if let Err(source) = removed.unwrap_or_else(|panicked| Err(panicked.into())) {
            let error = Error::File { attempt: "remove", path: container.folder().to_owned(), source };
            container.fail_removal(&error.sentence());
            return Err(error);
        }
        self.containers.remove(container);
        let record = container.record();
        if volumes || record.host_config.auto_remove == Some(true) {
            self.remove_anonymous(&record).await;
        }
        self.execs.forget_container(container.id());
        container.gone();
        self.events.container(container, "destroy", &[]);
        Ok(())
    }

    /// Signals a container that is to end. One that ended by itself meanwhile, which is all that was asked, may still be
    /// counted as running while its output is written.
    async fn send(&self, container: &Container, sandbox: &Sandbox, number: i32) -> proa_sandbox::Result<()> {
        match sandbox.signal(number).await {
            Ok(()) => self.signalled(container, number),
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn signalled(&self, container: &Container, number: i32) {
        self.events.container(container, "kill", &[("signal", number.to_string())]);
    }
}

/// An exit nobody saw: the zygote or worker that was its witness is gone.
pub(crate) fn unknown_exit() -> proa_sandbox::Exit {
    proa_sandbox::Exit {
        code: None,
        oom_killed: false,
        reason: Some("its exit status is unknown: the process that held it is gone".to_owned()),
        at: SystemTime::now(),
    }
}

/// The number of a signal by its name, with or without `SIG`, or by itself.
pub(crate) fn parse_signal(text: &str) -> Result<i32> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = SIGNALS.iter().find(|(name, _)| *name == bare).map(|(_, number)| *number);
    let real_time = bare.strip_prefix("RTMIN+").and_then(|add| add.parse::<i32>().ok()).map(|add| 34 + add);
    let number = named.or(real_time).or_else(|| text.parse().ok());
    number.filter(|number| (1..=64).contains(number)).ok_or_else(|| Error::Invalid(format!("invalid signal: {text}")))
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_are_named_in_every_way_docker_takes() {
        for (text, number) in [("SIGTERM", 15), ("term", 15), ("9", 9), ("KILL", 9), ("RTMIN+3", 37), ("64", 64)] {
            assert_eq!(parse_signal(text).ok(), Some(number), "{text}");
        }
        for text in ["", "0", "65", "NOPE", "-1"] {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }
}
