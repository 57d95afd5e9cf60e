//! Networks and volumes, as far as there are any: the three names, and none.

use serde_json::{Value, json};

use crate::api::call::Call;
use crate::api::filters::Filters;
use crate::api::reply::{Answer, ok};
use crate::error::Error;
use crate::host::Host;
use crate::network::NETWORKS;
use crate::timestamp::ZERO;

const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// `GET /networks`.
pub(crate) fn list(host: &Host, call: &Call) -> Answer {
    let filters = Filters::read(&call.query, &FILTERS)?;
    let all = NETWORKS.iter().map(|(name, driver)| network(host, name, driver));
    ok(&all.filter(|network| fits(network, &filters)).collect::<Vec<_>>())
}

/// `POST /networks/prune`: what cannot be made cannot be left over.
pub(crate) fn prune() -> Answer {
    ok(&json!({ "NetworksDeleted": null }))
}

/// `POST /build/prune`, likewise.
pub(crate) fn prune_builds() -> Answer {
    ok(&json!({ "CachesDeleted": null, "SpaceReclaimed": 0 }))
}

/// The three are of the builtin type, in nobody's use and without labels.
fn fits(network: &Value, filters: &Filters) -> bool {
    let field = |name: &str| network[name].as_str().unwrap_or_default();
    filters.any("name", |wanted| field("Name").contains(wanted.as_str()))
        && filters.any("id", |wanted| field("Id").contains(wanted.as_str()))
        && filters.any("driver", |wanted| field("Driver") == wanted)
        && filters.any("scope", |wanted| field("Scope") == wanted)
        && filters.any("type", |wanted| wanted == "builtin")
        && filters.any("dangling", |wanted| !matches!(wanted.as_str(), "1" | "true"))
        && filters.labels(None)
}

/// `GET /networks/{name}`.
pub(crate) fn inspect(host: &Host, key: &str) -> Answer {
    let found = NETWORKS.iter().map(|(name, driver)| network(host, name, driver));
    let mut found =
        found.filter(|network| network["Name"] == key || network["Id"].as_str().is_some_and(|id| id.starts_with(key)));
    match found.next() {
        Some(network) => ok(&network),
        None => Err(Error::FindNetwork(key.to_owned()).into()),
    }
}

fn network(host: &Host, name: &str, driver: &str) -> Value {
    let id = crate::network::id(&host.id, name);
    json!({ "Name": name, "Id": id, "Created": ZERO, "Scope": "local", "Driver": driver, "EnableIPv4": true,
        "EnableIPv6": false, "IPAM": { "Driver": "default", "Options": null, "Config": [] }, "Internal": false,
        "Attachable": false, "Ingress": false, "ConfigFrom": { "Network": "" }, "ConfigOnly": false,
        "Containers": {}, "Options": {}, "Labels": {} })
}
