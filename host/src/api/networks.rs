//! Networks and volumes, as far as there are any: the three names, and none.

use serde_json::{Value, json};

use crate::api::reply::{Answer, ok};
use crate::error::Error;
use crate::host::Host;
use crate::network::NETWORKS;
use crate::timestamp::ZERO;

/// `GET /networks`.
pub(crate) fn list(host: &Host) -> Answer {
    ok(&NETWORKS.iter().map(|(name, driver)| network(host, name, driver)).collect::<Vec<_>>())
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

/// `GET /volumes`.
pub(crate) fn volumes() -> Answer {
    ok(&json!({ "Volumes": [], "Warnings": null }))
}

fn network(host: &Host, name: &str, driver: &str) -> Value {
    let id = proa_registry::Digest::sha256_of(format!("{}/{name}", host.id).as_bytes());
    json!({ "Name": name, "Id": id.hex(), "Created": ZERO, "Scope": "local", "Driver": driver, "EnableIPv4": true,
        "EnableIPv6": false, "IPAM": { "Driver": "default", "Options": null, "Config": [] }, "Internal": false,
        "Attachable": false, "Ingress": false, "ConfigFrom": { "Network": "" }, "ConfigOnly": false,
        "Containers": {}, "Options": {}, "Labels": {} })
}
