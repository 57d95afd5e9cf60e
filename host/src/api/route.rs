//! Which handler answers what.

use std::sync::Arc;

use hyper::Method;

use crate::api::call::Call;
use crate::api::reply::{Answer, Failure};
use crate::api::{
    attach, containers, create, df, events, exec, image_transfer, images, inspect, list, logs, networks, proa, prune, stats,
    system, top, wait,
};
use crate::host::Host;

/// Finds the handler and lets it answer.
pub(crate) async fn route(host: Arc<Host>, call: Call) -> Answer {
    let path = call.path.clone();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (call.method.clone(), path.as_slice()) {
        (Method::GET | Method::HEAD, ["_ping"]) => system::ping(),
        (Method::GET, ["version"]) => system::version(),
        (Method::GET, ["info"]) => system::info(&host).await,
        (Method::POST, ["auth"]) => Err(Failure::not_yet("logging in through the API")),
        (Method::GET, ["events"]) => events::events(&host, &call),
        (Method::GET, ["system", "df"]) => df::df(&host, &call).await,

        (Method::GET, ["containers", "json"]) => list::list(&host, &call).await,
        (Method::POST, ["containers", "create"]) => create::create(&host, call).await,
        (Method::POST, ["containers", "prune"]) => prune::containers(&host, &call).await,
        (Method::GET, ["containers", id, "json"]) => inspect::inspect(&host, id),
        (Method::POST, ["containers", id, "start"]) => containers::start(&host, id).await,
        (Method::POST, ["containers", id, "stop"]) => containers::stop(&host, id, &call).await,
        (Method::POST, ["containers", id, "restart"]) => containers::restart(&host, id, &call).await,
        (Method::POST, ["containers", id, "pause"]) => containers::pause(&host, id).await,
        (Method::POST, ["containers", id, "unpause"]) => containers::unpause(&host, id).await,
        (Method::POST, ["containers", id, "rename"]) => containers::rename(&host, id, &call).await,
        (Method::POST, ["containers", id, "update"]) => containers::update(&host, id, call).await,
        (Method::GET, ["containers", id, "top"]) => top::top(&host, id, &call).await,
        (Method::POST, ["containers", id, "kill"]) => containers::kill(&host, id, &call).await,
        (Method::POST, ["containers", id, "wait"]) => wait::wait(&host, id, &call),
        (Method::POST, ["containers", id, "resize"]) => containers::resize(&host, id, &call).await,
        (Method::POST, ["containers", id, "attach"]) => attach::attach(&host, id, call),
        (Method::GET, ["containers", id, "stats"]) => stats::stats(&host, id, &call).await,
        (Method::GET, ["containers", id, "logs"]) => logs::logs(&host, id, &call),
        (Method::POST, ["containers", id, "exec"]) => exec::create(&host, id, call).await,
        (Method::DELETE, ["containers", id]) => containers::remove(&host, id, &call).await,
        (_, ["containers", id, verb]) => unfinished(&host, id, verb),
        (_, ["containers", id, "attach", "ws"]) => unfinished(&host, id, "attach/ws"),

        (Method::POST, ["exec", id, "start"]) => exec::start(&host, id, call).await,
        (Method::POST, ["exec", id, "resize"]) => exec::resize(&host, id, &call).await,
        (Method::GET, ["exec", id, "json"]) => exec::inspect(&host, id),

        (Method::GET, ["images", "json"]) => images::list(&host, &call).await,
        (Method::POST, ["images", "create"]) => image_transfer::pull(&host, &call).await,
        (Method::POST, ["images", "load"]) => image_transfer::load(&host, call).await,
        (Method::POST, ["images", "prune"]) => Err(Failure::not_yet("pruning images")),
        (Method::GET, ["images", "get" | "search"]) => Err(Failure::not_yet("saving and searching images")),
        (Method::GET, ["images", name @ .., "json"]) if !name.is_empty() => {
            images::inspect(&host, &name.join("/")).await
        }
        (Method::GET, ["images", name @ .., "get" | "history"]) if !name.is_empty() => {
            Err(Failure::not_yet("saving an image and its history"))
        }
        (Method::POST, ["images", name @ .., "push"]) if !name.is_empty() => {
            image_transfer::push(&host, &name.join("/"), &call).await
        }
        (Method::POST, ["images", name @ .., "tag"]) if !name.is_empty() => {
            images::tag(&host, &name.join("/"), &call).await
        }
        (Method::DELETE, ["images", name @ ..]) if !name.is_empty() => {
            images::remove(&host, &name.join("/"), &call).await
        }

        (Method::GET, ["networks"]) => networks::list(&host, &call),
        (Method::GET, ["networks", name]) => networks::inspect(&host, name),
        (Method::POST, ["networks", "prune"]) => networks::prune(),
        (Method::POST | Method::DELETE, ["networks", ..]) => Err(Failure::not_yet("changing networks")),
        (Method::GET, ["volumes"]) => networks::volumes(),
        (_, ["volumes", ..]) => Err(Failure::not_yet("volumes")),
        (Method::POST, ["build", "prune"]) => networks::prune_builds(),
        (
            _,
            [
                "build" | "commit" | "session" | "grpc" | "plugins" | "swarm" | "services" | "nodes" | "tasks" | "secrets"
                | "configs" | "distribution",
                ..,
            ],
        ) => Err(Failure::not_yet(&format!("`/{}`", path.join("/")))),

        (Method::POST, ["proa", "stop"]) => proa::stop(&host).await,
        (Method::POST, ["proa", "plan"]) => proa::plan(&host, call).await,
        _ => Err(Failure::page_not_found()),
    }
}

/// Verbs that dockerd has and we do not yet; everything else is no page at all.
fn unfinished(host: &Host, id: &str, verb: &str) -> Answer {
    const VERBS: [&str; 6] = [
        "changes",
        "export",
        "archive",
        "attach/ws",
        "checkpoints",
        "copy",
    ];
    if !VERBS.contains(&verb) {
        return Err(Failure::page_not_found());
    }
    host.containers.find(id)?;
    Err(Failure::not_yet(&format!("`{verb}` of a container")))
}
