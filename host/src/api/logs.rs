//! `GET /containers/{id}/logs`.

use std::sync::Arc;

use hyper::StatusCode;

use crate::api::attach::follow;
use crate::api::body::Body;
use crate::api::call::Call;
use crate::api::framing::{Framing, Wanted, media_type};
use crate::api::reply::{Answer, Failure, with_type};
use crate::host::Host;
use crate::logging;
use crate::state::follower::{Patience, Window};
use crate::state::{Follower, Until};
use crate::timestamp::parse_moment;

/// The log so far, and with `follow` what comes until the run ends.
pub(crate) fn logs(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    let query = &call.query;
    let (stdout, stderr) = (query.truth("stdout"), query.truth("stderr"));
    if !stdout && !stderr {
        return Err(Failure::bad_request("Bad parameters: you must choose at least one stream"));
    }
    if !container.log().is_kept() {
        // dockerd's words and code for a driver that only takes.
        return Err(Failure {
            status: StatusCode::NOT_IMPLEMENTED,
            message: "configured logging driver does not support reading".to_owned(),
        });
    }
    let framed = container.with(|record| record.config.tty != Some(true));
    let time = |name: &str| match query.get(name) {
        None | Some("0") => Ok(None),
        Some(text) => match parse_moment(text) {
            Some(nanos) => Ok(Some(nanos)),
            None => Err(Failure::bad_request(format!("invalid value \"{text}\" for parameter {name}"))),
        },
    };
    let (offset, skip) = match query.get("tail") {
        None | Some("all") => (0, 0),
        // As dockerd does, whatever is no number means all.
        Some(text) => match text.parse() {
            Ok(lines) => container.log().last_lines(lines).map_err(|error| Failure {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                message: format!("read the log of container {}: {error}", container.id()),
            })?,
            Err(_) => (0, 0),
        },
    };
    let following = query.truth("follow") && container.status().is_active();
    let until = if following { Until::RunEnds } else { Until::Now };
    let window = Window { skip_lines: skip, since: time("since")?, until: time("until")? };
    let follower = Follower::new(container.log(), offset, until, Patience::Looking).within(window);
    let (timestamps, details) = (query.truth("timestamps"), query.truth("details"));
    let shown = container.with(|record| logging::details(&record.host_config, &record.config));
    let framing = Framing::new(Wanted { stdout, stderr, framed, timestamps, details }).by_line(shown);
    Ok(with_type(StatusCode::OK, media_type(framed, call.version), Body::stream(follow(follower, framing))))
}
