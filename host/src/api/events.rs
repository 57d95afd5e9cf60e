//! `GET /events`: what happened, one JSON object a line, until the client goes or `until` has come.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard_stubs::models::{EventActor, EventMessage, EventMessageScopeEnum, EventMessageTypeEnum};
use bytes::Bytes;
use futures_util::{Stream, stream};
use hyper::StatusCode;
use serde::Serialize;

use crate::api::body::Body;
use crate::api::call::Call;
use crate::api::filters::Filters;
use crate::api::reply::{Answer, Failure, with_type};
use crate::events::{Event, Listener, Subject};
use crate::host::Host;
use crate::timestamp::{parse_moment, unix_nanos};

const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// The stream; the head goes out at once, so that the client knows it is heard from then on.
pub(crate) fn events(host: &Host, call: &Call) -> Answer {
    let filters = Filters::read(&call.query, &FILTERS)?;
    let time = |name: &str| match call.query.get(name) {
        None | Some("0") => Ok(None),
        Some(text) => match parse_moment(text) {
            Some(nanos) => Ok(Some(nanos)),
            None => Err(Failure::bad_request(format!("invalid value \"{text}\" for parameter {name}"))),
        },
    };
    let (since, until) = (time("since")?, time("until")?);
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(Failure::bad_request("`since` time cannot be after `until` time"));
    }
    // As dockerd does: a client that names an end and no beginning wants all that is remembered.
    let listener = host.events.listen(since.or(until.map(|_| 0)));
    Ok(with_type(StatusCode::OK, "application/json", Body::stream(lines(listener, filters, until))))
}

fn lines(listener: Listener, filters: Filters, until: Option<u64>) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold((listener, filters), move |(mut listener, filters)| async move {
        loop {
            let event = next(&mut listener, until).await?;
            if fits(&filters, &event) {
                return Some((line(&event), (listener, filters)));
            }
        }
    })
}

async fn next(listener: &mut Listener, until: Option<u64>) -> Option<Arc<Event>> {
    let Some(until) = until else { return listener.next().await };
    let rest = Duration::from_nanos(until.saturating_sub(unix_nanos(SystemTime::now())));
    let event = match rest {
        Duration::ZERO => listener.next_now(),
        rest => tokio::time::timeout(rest, listener.next()).await.ok().flatten(),
    };
    event.filter(|event| event.at <= until)
}

fn fits(filters: &Filters, event: &Event) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    let is = |subject: Subject| event.subject == subject;
    let image = is(Subject::Image);
    let named = |subject: Subject, wanted: &String| {
        is(subject) && (event.id.starts_with(wanted.as_str()) || attribute("name").starts_with(wanted.as_str()))
    };
    let of_image = if image { [event.id.as_str(), attribute("name")] } else { [attribute("image"); 2] };
    filters.any("type", |wanted| *wanted == subject(event.subject).to_string())
        // As dockerd does: `exec_create` is also the name of `exec_create: ls`.
        && filters.any("event", |wanted| {
            event.action == *wanted || event.action.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with(':'))
        })
        && filters.any("scope", |wanted| wanted == "local")
        && filters.any("image", |wanted| of_image.iter().any(|name| is_image(name, wanted)))
        // As dockerd does: the beginning of an id or name is enough.
        && filters.any("container", |wanted| named(Subject::Container, wanted))
        && filters.any("volume", |wanted| named(Subject::Volume, wanted))
        && filters.any("network", |wanted| named(Subject::Network, wanted))
        && ["config", "daemon", "node", "plugin", "secret", "service"].iter().all(|kind| !filters.has(kind))
        && filters.labels(Some(&event.attributes))
}

/// Whether `name` is the image `wanted`, which may leave the tag out.
fn is_image(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(':') && !rest.contains('/'))
}

fn subject(subject: Subject) -> EventMessageTypeEnum {
    match subject {
        Subject::Container => EventMessageTypeEnum::CONTAINER,
        Subject::Image => EventMessageTypeEnum::IMAGE,
        Subject::Volume => EventMessageTypeEnum::VOLUME,
        Subject::Network => EventMessageTypeEnum::NETWORK,
        Subject::Builder => EventMessageTypeEnum::BUILDER,
    }
}

/// An event as dockerd writes it: the three older fields first, which clients below API 1.22 read.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a String>,
    #[serde(flatten)]
    message: EventMessage,
}

fn line(event: &Event) -> Bytes {
    let message = EventMessage {
        typ: Some(subject(event.subject)),
        action: Some(event.action.clone().into_owned()),
        actor: Some(EventActor { id: Some(event.id.clone()), attributes: Some(event.attributes.clone()) }),
        scope: Some(EventMessageScopeEnum::LOCAL),
        time: Some((event.at / 1_000_000_000).cast_signed()),
        time_nano: Some(event.at.cast_signed()),
    };
    let old = matches!(event.subject, Subject::Container | Subject::Image);
    let from = event.attributes.get("image").filter(|_| event.subject == Subject::Container);
    let line = Line { status: old.then_some(event.action.as_ref()), id: old.then_some(&event.id), from, message };
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::call::Query;
    use crate::events::Events;

    fn died() -> Event {
        let pairs = [("image", "busybox:1"), ("name", "ship"), ("exitCode", "7"), ("tier", "web")];
        let attributes = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let id = "ab".repeat(32);
        Event { subject: Subject::Container, action: "die".into(), id, attributes, at: 1_700_000_000_000_000_007 }
    }

    #[test]
    fn an_event_is_written_as_dockerd_writes_it() {
        let text = line(&died());
        assert!(text.ends_with(b"}\n"));
        let id = "ab".repeat(32);
        let expected = json!({ "status": "die", "id": id, "from": "busybox:1", "Type": "container", "Action": "die",
            "Actor": { "ID": id, "Attributes": { "image": "busybox:1", "name": "ship", "exitCode": "7",
                "tier": "web" } },
            "scope": "local", "time": 1_700_000_000, "timeNano": 1_700_000_000_000_000_007_i64 });
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn filters_narrow_as_docker_s() {
        for (text, expected) in [
            ("{}", true),
            (r#"{"type":["container"],"container":["abab"]}"#, true),
            (r#"{"container":{"ship":true},"event":["start","die"]}"#, true),
            (r#"{"label":["tier=web"],"image":["busybox"]}"#, true),
            (r#"{"type":["image"]}"#, false),
            (r#"{"container":["cd"]}"#, false),
            (r#"{"event":["start"]}"#, false),
            (r#"{"label":["tier=db"]}"#, false),
            (r#"{"image":["busy"]}"#, false),
        ] {
            let filters = Filters::read(&Query::parse(&format!("filters={text}")), &FILTERS).unwrap();
            assert_eq!(fits(&filters, &died()), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_time_has_come() {
        let events = Events::default();
        events.image("tag", "1", "x");
        let now = unix_nanos(SystemTime::now());
        events.image("tag", "2", "x");
        let past = lines(events.listen(Some(0)), Filters::default(), Some(now));
        assert_eq!(past.count().await, 1);
        let soon = lines(events.listen(Some(0)), Filters::default(), Some(now + 50_000_000));
        assert_eq!(soon.count().await, 2);
    }
}
