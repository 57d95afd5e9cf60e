//! What happened, told to whoever listens: names are Docker's. Within bounds, whoever is slow: what is older than the ring
//! is forgotten, and a listener that falls that far behind is let go. Must not know the API's shapes.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::broadcast;

use crate::state::Container;
use crate::timestamp::unix_nanos;

/// Events that are remembered for `since`, and that a listener may be behind. As many as dockerd's.
const REMEMBERED: usize = 256;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Container,
    Image,
    Volume,
    Network,
    Builder,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub subject: Subject,
    /// `create`, `start`, `die`, `kill`, `oom`, `stop`, `restart`, `destroy`, `attach`, `detach`, `resize`, `rename`,
    /// `update`, `pause`, `unpause`, `prune`, `exec_create: CMD`, `exec_start: CMD`, `exec_die`, `health_status: healthy`;
    /// `pull`, `push`, `load`, `tag`, `untag`, `delete`; `mount`, `unmount`; `connect`, `disconnect`.
    pub action: Cow<'static, str>,
    /// The container's, image's or network's id, the volume's name; for `pull` and `push` the image's name.
    pub id: String,
    /// `name`, `image`, the labels, and what belongs to the action (`exitCode`, `signal`).
    pub attributes: HashMap<String, String>,
    /// Nanoseconds since 1970.
    pub at: u64,
}

/// Everybody who listens, and the last events.
#[derive(Debug)]
pub struct Events {
    last: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

/// One listener: what it asked for of the past, then what comes.
#[derive(Debug)]
pub struct Listener {
    past: VecDeque<Arc<Event>>,
    coming: broadcast::Receiver<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Events {
        Events { last: Mutex::default(), sender: broadcast::Sender::new(REMEMBERED) }
    }
}

impl Events {
    /// Tells what happened to a container.
    pub fn container(&self, container: &Container, action: impl Into<Cow<'static, str>>, more: &[(&str, String)]) {
        let mut attributes = container.with(|record| {
            let mut attributes = record.config.labels.clone().unwrap_or_default();
            attributes.insert("image".to_owned(), record.image.clone());
            attributes.insert("name".to_owned(), record.name.clone());
            attributes
        });
        attributes.extend(owned(more));
        self.tell(Subject::Container, action.into(), container.id().to_owned(), attributes);
    }

    /// Tells what happened to an image, known by `id` and `name`.
    pub fn image(&self, action: &'static str, id: &str, name: &str) {
        let attributes = HashMap::from([("name".to_owned(), name.to_owned())]);
        self.tell(Subject::Image, action.into(), id.to_owned(), attributes);
    }

    /// Tells what happened to a volume: `create` and `destroy` have the attribute `driver`, `mount` and `unmount`
    /// `container` too.
    pub fn volume(&self, action: &'static str, name: &str, attributes: &[(&str, String)]) {
        self.tell(Subject::Volume, action.into(), name.to_owned(), owned(attributes).collect());
    }

    /// Tells what happened to a network.
    pub fn network(&self, action: &'static str, id: &str, attributes: &[(&str, String)]) {
        self.tell(Subject::Network, action.into(), id.to_owned(), owned(attributes).collect());
    }

    /// Tells that everything unused of one kind was removed, and how many bytes that freed.
    pub fn pruned(&self, subject: Subject, reclaimed: u64) {
        let attributes = HashMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
        self.tell(subject, "prune".into(), String::new(), attributes);
    }

    /// Listens from now on, and to what is remembered from `since` (nanoseconds since 1970) on.
    pub fn listen(&self, since: Option<u64>) -> Listener {
        let last = self.lock();
        let past = match since {
            Some(since) => last.iter().filter(|event| event.at >= since).cloned().collect(),
            None => VecDeque::new(),
        };
        // Under the lock: nothing is missed in between, and nothing told twice.
        Listener { past, coming: self.sender.subscribe() }
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    fn tell(&self, subject: Subject, action: Cow<'static, str>, id: String, attributes: HashMap<String, String>) {
        let mut last = self.lock();
        let at = unix_nanos(SystemTime::now());
        let event = Arc::new(Event { subject, action, id, attributes, at });
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back(event.clone());
        // An error says that nobody listens.
        let _ = self.sender.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// The next event; `None` once this listener fell too far behind, or the host is gone.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.past.pop_front() {
            return Some(event);
        }
        // A gap would be a lie: whoever comes back with `since` hears what is remembered.
        self.coming.recv().await.ok()
    }

    /// The next event that is here already.
    pub fn next_now(&mut self) -> Option<Arc<Event>> {
        self.past.pop_front().or_else(|| self.coming.try_recv().ok())
    }
}

fn owned<'a>(pairs: &'a [(&'a str, String)]) -> impl Iterator<Item = (String, String)> + 'a {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(listener: &mut Listener) -> Vec<String> {
        std::iter::from_fn(|| listener.next_now()).map(|event| event.id.clone()).collect()
    }

    #[test]
    fn a_listener_hears_what_comes_and_the_past_it_asked_for() {
        let events = Events::default();
        events.image("tag", "1", "x");
        let (mut new, mut old) = (events.listen(None), events.listen(Some(0)));
        events.image("untag", "2", "x");
        assert_eq!((ids(&mut new), ids(&mut old)), (vec!["2".to_owned()], vec!["1".to_owned(), "2".to_owned()]));
    }

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_let_go_and_little_is_remembered() {
        let events = Events::default();
        let mut slow = events.listen(None);
        for number in 0..=REMEMBERED {
            events.image("tag", &number.to_string(), "x");
        }
        assert_eq!(slow.next().await, None);
        let remembered = ids(&mut events.listen(Some(0)));
        assert_eq!((remembered.len(), remembered[0].as_str()), (REMEMBERED, "1"));
    }
}
