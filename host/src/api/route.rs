//! Which handler answers what.

use std::sync::Arc;

use hyper::Method;

use crate::api::call::Call;
use crate::api::reply::{Answer, Failure};
use crate::api::{
    archive, attach, auth, changes, commit, containers, create, df, events, exec, image_archive, image_inspect,
    image_remove, image_transfer, images, inspect, list, logs, networks, proa, prune, stats, system, top, volumes,
    wait,
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
        (Method::POST, ["auth"]) => auth::auth(&host, call).await,
        (Method::GET, ["events"]) => events::events(&host, &call),
        (Method::GET, ["system", "df"]) => df::df(&host, &call).await,

        (Method::GET, ["containers", "json"]) => list::list(&host, &call).await,
        (Method::POST, ["containers", "create"]) => create::create(&host, call).await,
        (Method::POST, ["containers", "prune"]) => prune::containers(&host, &call).await,
        (Method::GET, ["containers", id, "json"]) => inspect::inspect(&host, id, &call).await,
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
        (Method::HEAD, ["containers", id, "archive"]) => archive::stat(&host, id, &call).await,
        (Method::GET, ["containers", id, "archive"]) => archive::copy_out(&host, id, &call).await,
        (Method::PUT, ["containers", id, "archive"]) => archive::copy_in(&host, id, call).await,
        (Method::GET, ["containers", id, "export"]) => archive::export(&host, id).await,
        (Method::GET, ["containers", id, "changes"]) => changes::changes(&host, id).await,
        (Method::POST, ["commit"]) => commit::commit(&host, call).await,
        (_, ["containers", id, verb]) => unfinished(&host, id, verb),
        (_, ["containers", id, "attach", "ws"]) => unfinished(&host, id, "attach/ws"),

        (Method::POST, ["exec", id, "start"]) => exec::start(&host, id, call).await,
        (Method::POST, ["exec", id, "resize"]) => exec::resize(&host, id, &call).await,
        (Method::GET, ["exec", id, "json"]) => exec::inspect(&host, id),

        (Method::GET, ["images", "json"]) => images::list(&host, &call).await,
        (Method::POST, ["images", "create"]) => image_transfer::create(&host, call).await,
        (Method::POST, ["images", "load"]) => image_archive::load(&host, call).await,
        (Method::POST, ["images", "prune"]) => image_remove::prune(&host, &call).await,
        (Method::GET, ["images", "search"]) => Err(Failure::not_yet("searching for images")),
        (Method::GET, ["images", "get"]) => {
            image_archive::save(&host, call.query.all("names").map(str::to_owned).collect(), &call).await
        }
        (Method::GET, ["images", name @ .., "json"]) if !name.is_empty() => {
            image_inspect::inspect(&host, &name.join("/"), &call).await
        }
        (Method::GET, ["images", name @ .., "history"]) if !name.is_empty() => {
            image_inspect::history(&host, &name.join("/"), &call).await
        }
        (Method::GET, ["images", name @ .., "get"]) if !name.is_empty() => {
            image_archive::save(&host, vec![name.join("/")], &call).await
        }
        (Method::GET, ["distribution", name @ .., "json"]) if !name.is_empty() => {
            image_inspect::distribution(&host, &name.join("/"), &call).await
        }
        (Method::POST, ["images", name @ .., "push"]) if !name.is_empty() => {
            image_transfer::push(&host, &name.join("/"), &call).await
        }
        (Method::POST, ["images", name @ .., "tag"]) if !name.is_empty() => {
            images::tag(&host, &name.join("/"), &call.query).await
        }
        (Method::DELETE, ["images", name @ ..]) if !name.is_empty() => {
            image_remove::remove(&host, &name.join("/"), &call).await
        }

        (Method::GET, ["networks"]) => networks::list(&host, &call),
        (Method::GET, ["networks", name]) => networks::inspect(&host, name),
        (Method::POST, ["networks", "prune"]) => networks::prune(),
        (Method::POST | Method::DELETE, ["networks", ..]) => Err(Failure::not_yet("changing networks")),
        (Method::GET, ["volumes"]) => volumes::list(&host, &call),
        (Method::POST, ["volumes", "create"]) => volumes::create(&host, call).await,
        (Method::POST, ["volumes", "prune"]) => volumes::prune(&host, &call).await,
        (Method::GET, ["volumes", name]) => volumes::inspect(&host, name),
        (Method::DELETE, ["volumes", name]) => volumes::remove(&host, name, &call).await,
        (_, ["volumes", _]) => Err(Failure::not_yet("changing a volume")),
        (Method::POST, ["build", "prune"]) => networks::prune_builds(),
        (
            _,
            [
                "build" | "session" | "grpc" | "plugins" | "swarm" | "services" | "nodes" | "tasks" | "secrets"
                | "configs" | "distribution",
                ..,
            ],
        ) => Err(Failure::not_yet(&format!("`/{}`", path.join("/")))),

        (Method::POST, ["proa", "stop"]) => proa::stop(&host).await,
        (Method::POST, ["proa", "check"]) => proa::check(&host, &call).await,
        (Method::POST, ["proa", "plan"]) => proa::plan(&host, call).await,
        _ => Err(Failure::page_not_found()),
    }
}

/// Verbs that dockerd has and we do not yet; everything else is no page at all.
fn unfinished(host: &Host, id: &str, verb: &str) -> Answer {
    const VERBS: [&str; 3] = ["attach/ws", "checkpoints", "copy"];
    if !VERBS.contains(&verb) {
        return Err(Failure::page_not_found());
    }
    host.containers.find(id)?;
    Err(Failure::not_yet(&format!("`{verb}` of a container")))
}
