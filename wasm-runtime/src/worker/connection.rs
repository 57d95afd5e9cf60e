//! One host's connection: a reader that serves its calls, and a sender through which everything leaves in order.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::protocol::{Answer, Blob, Failure, FromWorker, Request, ToWorker, VERSION};
use super::sandbox::Sandbox;
use super::{Worker, invalid};

/// Frames of one guest sent before the next guest's turn.
const TURN: usize = 4;

enum Item {
    Message(FromWorker, Option<OwnedFd>),
    /// This guest has output or an exit to tell.
    Guest(String),
}

/// The queue of the present connection. It is bounded by what it names: answers to the host's own calls, and each
/// guest at most once; the bytes wait in the guests' rings.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Present>);

#[derive(Default)]
struct Present {
    queue: Option<UnboundedSender<Item>>,
    /// Ends the present connection.
    replaced: Option<CancellationToken>,
}

impl Outbox {
    /// Queues guest `id` unless it already is.
    pub(crate) fn wake(&self, id: &str, queued: &AtomicBool) {
        if !queued.swap(true, Ordering::SeqCst) && !self.put(Item::Guest(id.to_owned())) {
            queued.store(false, Ordering::SeqCst);
        }
    }

    fn put(&self, item: Item) -> bool {
        self.present().queue.as_ref().is_some_and(|queue| queue.send(item).is_ok())
    }

    fn open(&self, queue: UnboundedSender<Item>) {
        self.present().queue = Some(queue);
    }

    fn replace(&self, queue: Option<UnboundedSender<Item>>, replaced: Option<CancellationToken>) {
        let before = std::mem::replace(&mut *self.present(), Present { queue, replaced });
        if let Some(before) = before.replaced {
            before.cancel();
        }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Serves one host until it goes away or another takes its place.
    ///
    /// # Errors
    /// Of the socket, or of a peer that does not keep to the protocol.
    pub async fn attend(self: &Arc<Worker>, socket: OwnedFd) -> std::io::Result<()> {
        let host = self.hosts.fetch_add(1, Ordering::SeqCst) + 1;
        self.connected.store(host, Ordering::SeqCst);
        let present = CancellationToken::new();
        // The newest host is the host: a former one may be dead without its socket knowing.
        self.outbox.replace(None, Some(present.clone()));
        let result = tokio::select! {
            () = present.cancelled() => return Ok(()),
            result = self.serve(host, socket) => result,
        };
        if self.connected.compare_exchange(host, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.outbox.replace(None, None);
            self.changed.notify_one();
        }
        result
    }

    async fn serve(self: &Arc<Worker>, host: u64, socket: OwnedFd) -> std::io::Result<()> {
        let channel = Channel::new(socket)?;
        let (queue, items) = mpsc::unbounded_channel();
        tokio::select! {
            result = self.listen(host, &channel, &queue) => result,
            // A host that died cannot be sent to, yet what it acknowledged before still waits to be read: forgotten, that
            // output would come twice. The reading ends by itself.
            Ok(()) = self.send(host, &channel, items) => Ok(()),
        }
    }

    async fn listen(
        self: &Arc<Worker>,
        host: u64,
        channel: &Channel,
        queue: &UnboundedSender<Item>,
    ) -> std::io::Result<()> {
        while let Some((message, descriptors)) = channel.receive().await? {
            match message {
                ToWorker::Acknowledge { id, through } => {
                    if let Ok(sandbox) = self.find(&id) {
                        sandbox.ring.acknowledge(through);
                    }
                }
                ToWorker::Call { number, request: Request::Hello { version } } => {
                    self.greet(host, number, version, queue);
                }
                ToWorker::Call { number, request } => {
                    let (worker, queue) = (Arc::clone(self), queue.clone());
                    if let Some(outcome) = self.answer(&request, descriptors) {
                        let _ = queue.send(Item::Message(FromWorker::Done { number, outcome }, None));
                        continue;
                    }
                    // These wait for guests to end; calls behind them must not.
                    tokio::spawn(async move {
                        match &request {
                            Request::Delete { id } => worker.delete(id).await,
                            _ => worker.end().await,
                        }
                        let done = FromWorker::Done { number, outcome: Ok(Answer::Nothing) };
                        let _ = queue.send(Item::Message(done, None));
                    });
                }
            }
        }
        Ok(())
    }

    /// Introduces itself and what it holds; only then output begins to flow.
    fn greet(&self, host: u64, number: u64, version: u32, queue: &UnboundedSender<Item>) {
        let put = |message, descriptor| drop(queue.send(Item::Message(message, descriptor)));
        put(FromWorker::Hello { version: VERSION, identity: self.identity.clone() }, None);
        if version != VERSION {
            let message = format!("the worker speaks version {VERSION} of its protocol, the host version {version}");
            put(FromWorker::Done { number, outcome: Err(invalid(&message)) }, None);
            return;
        }
        // A new host knows of no code that is loaded; guests keep what they were made from.
        self.artifacts().clear();
        let sandboxes: Vec<Arc<Sandbox>> = self.sandboxes().values().cloned().collect();
        for sandbox in &sandboxes {
            let (id, exit, terminal) = (sandbox.id.clone(), sandbox.exit(), sandbox.is_terminal);
            let (started, paused) = (sandbox.started(), sandbox.is_paused());
            put(FromWorker::Held { id, started, paused, terminal, exit }, sandbox.duplicate());
            sandbox.ring.rewind(host);
        }
        put(FromWorker::Done { number, outcome: Ok(Answer::Nothing) }, None);
        self.outbox.open(queue.clone());
        for sandbox in &sandboxes {
            sandbox.queued.store(false, Ordering::SeqCst);
            self.outbox.wake(&sandbox.id, &sandbox.queued);
        }
    }

    /// `None` for the calls that wait.
    fn answer(self: &Arc<Worker>, request: &Request, descriptors: Vec<OwnedFd>) -> Option<Result<Answer, Failure>> {
        let done = match request {
            Request::Delete { .. } | Request::End => return None,
            Request::Hello { .. } => Ok(()),
            Request::Load { key, kind } => self.load(key.clone(), *kind, descriptors),
            Request::Unload { key } => {
                self.artifacts().remove(key);
                Ok(())
            }
            Request::Create { id, key, plan, within } => {
                self.create(id.clone(), key, plan.clone(), within.as_deref(), descriptors)
            }
            Request::Start { id } => self.start(id),
            Request::Pause { id } => self.find(id).and_then(|sandbox| sandbox.set_paused(true)),
            Request::Resume { id } => self.find(id).and_then(|sandbox| sandbox.set_paused(false)),
            Request::Update { id, memory } => self.find(id).and_then(|sandbox| sandbox.set_limit(*memory)),
            Request::Kill { id, signal } => self.kill(id, *signal),
            Request::CloseInput { id } => self.find(id).map(|sandbox| sandbox.close_input()),
            Request::Usage { id } => return Some(self.find(id).map(|sandbox| Answer::Usage(sandbox.usage()))),
        };
        Some(done.map(|()| Answer::Nothing))
    }

    async fn send(&self, host: u64, channel: &Channel, mut items: UnboundedReceiver<Item>) -> std::io::Result<()> {
        while let Some(item) = items.recv().await {
            match item {
                Item::Message(message, descriptor) => {
                    let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
                    channel.send(&message, &descriptors).await?;
                }
                Item::Guest(id) => {
                    if let Ok(sandbox) = self.find(&id) {
                        self.send_guest(host, channel, &sandbox).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn send_guest(&self, host: u64, channel: &Channel, sandbox: &Sandbox) -> std::io::Result<()> {
        // Before looking: what comes in from here on queues it again.
        sandbox.queued.store(false, Ordering::SeqCst);
        // Also before: all output of a guest precedes its exit.
        let exit = sandbox.exit();
        for _ in 0..TURN {
            let Some(frame) = sandbox.ring.take(host) else {
                return self.tell_exit(host, channel, sandbox, exit).await;
            };
            let (id, bytes) = (sandbox.id.clone(), Blob(frame.bytes.to_vec()));
            let message = FromWorker::Output { id, number: frame.number, stream: frame.stream, bytes };
            channel.send(&message, &[]).await?;
        }
        self.outbox.wake(&sandbox.id, &sandbox.queued);
        Ok(())
    }

    async fn tell_exit(
        &self,
        host: u64,
        channel: &Channel,
        sandbox: &Sandbox,
        exit: Option<super::Exit>,
    ) -> std::io::Result<()> {
        match exit {
            Some(exit) if sandbox.told.swap(host, Ordering::SeqCst) != host => {
                channel.send(&FromWorker::Exited { id: sandbox.id.clone(), exit }, &[]).await
            }
            _ => Ok(()),
        }
    }
}
