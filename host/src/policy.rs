//! Which isolation a tenant may use, and which it gets. Must not know images beyond what they offer.

use std::collections::BTreeMap;
use std::path::Path;

use proa_sandbox::Isolation;
use serde::Deserialize;

use crate::error::{Error, Result};

/// The tenant of whoever names none.
pub const DEFAULT_TENANT: &str = "default";

/// `proa host --policy FILE`:
/// ```toml
/// [default.isolation]            # every tenant not named below
/// allow = ["wasm", "linux-userns"]
/// default = "wasm"
/// [default.options]              # what would take back some of a native container's confinement
/// forbid = ["privileged", "host-namespaces", "devices", "capabilities", "unconfined"]
/// [tenant.billing.isolation]
/// allow = ["linux"]
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    #[serde(default)]
    default: Rules,
    #[serde(default)]
    tenant: BTreeMap<String, Rules>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    isolation: IsolationRules,
    #[serde(default)]
    options: OptionRules,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptionRules {
    /// Nothing is forbidden that is not named.
    #[serde(default)]
    forbid: Vec<Power>,
}

/// An option that takes back some of a native container's confinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// `--privileged`, which is all of the others.
    Privileged,
    /// `--pid`, `--ipc`, `--uts`, `--cgroupns` and `--network` of the node.
    HostNamespaces,
    /// `--device` and `--device-cgroup-rule`.
    Devices,
    /// `--cap-add` beyond the default set.
    Capabilities,
    /// `--security-opt` that loosens: seccomp, no-new-privileges:false, systempaths.
    Unconfined,
}

impl Power {
    fn option(self) -> &'static str {
        match self {
            Power::Privileged => "--privileged",
            Power::HostNamespaces => "namespaces of the host",
            Power::Devices => "--device",
            Power::Capabilities => "capabilities beyond the default ones",
            Power::Unconfined => "--security-opt that loosens its confinement",
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct IsolationRules {
    /// `None` allows all four.
    allow: Option<Vec<Isolation>>,
    default: Option<Isolation>,
}

/// What an image offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub wasm: bool,
    pub linux: bool,
}

impl Policy {
    /// Reads a policy file; unknown keys are refused.
    pub fn read(path: &Path) -> Result<Policy> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        toml::from_str(&text).map_err(|source| Error::ReadPolicy { path: path.to_owned(), source: Box::new(source) })
    }

    /// Whether a workload of `tenant` may have `powers`; a privileged one has them all.
    ///
    /// # Errors
    /// `Forbidden` with the first that it may not have.
    pub fn permit(&self, tenant: &str, powers: &[Power]) -> Result<()> {
        let forbidden = &self.tenant.get(tenant).unwrap_or(&self.default).options.forbid;
        let all = powers.contains(&Power::Privileged);
        match forbidden.iter().find(|power| all || powers.contains(power)) {
            Some(_) if all => Err(Error::Forbidden(format!("policy does not allow tenant `{tenant}` --privileged"))),
            Some(power) => Err(Error::Forbidden(format!("policy does not allow tenant `{tenant}` {}", power.option()))),
            None => Ok(()),
        }
    }

    /// The model for a workload of `tenant` that asked for `asked` (`None` leaves the choice to us).
    ///
    /// # Errors
    /// `Forbidden` when policy allows none of what is possible, `Invalid` when the image does not offer what was asked.
    pub fn choose(&self, tenant: &str, asked: Option<Isolation>, offer: Offer, image: &str) -> Result<Isolation> {
        let rules = &self.tenant.get(tenant).unwrap_or(&self.default).isolation;
        let allowed = |model: Isolation| rules.allow.as_ref().is_none_or(|allow| allow.contains(&model));
        let offered = |model: Isolation| if model.is_wasm() { offer.wasm } else { offer.linux };
        if let Some(model) = asked {
            if !allowed(model) {
                return Err(Error::Forbidden(format!(
                    "policy does not allow tenant `{tenant}` the isolation `{model}`"
                )));
            }
            if !offered(model) {
                return Err(Error::Invalid(format!(
                    "image `{image}` offers nothing that runs under isolation `{model}`"
                )));
            }
            return Ok(model);
        }
        // Wasm first, densest first; a stronger model of the same kind where policy allows no weaker one.
        let preferred = rules.default.into_iter().chain(Isolation::ALL);
        preferred.into_iter().find(|model| allowed(*model) && offered(*model)).ok_or_else(|| {
            Error::Forbidden(format!("policy allows tenant `{tenant}` no isolation that image `{image}` offers"))
        })
    }
}

/// What a request asks for: `None` for `auto`, `default` and nothing.
pub fn asked_isolation(name: &str) -> Result<Option<Isolation>> {
    match name {
        "" | "auto" | "default" => Ok(None),
        name => {
            name.parse().map(Some).map_err(|error: proa_sandbox::UnknownIsolation| Error::Invalid(error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Offer = Offer { wasm: true, linux: true };
    const NATIVE: Offer = Offer { wasm: false, linux: true };

    fn check(policy: &str, tenant: &str, asked: &str, offer: Offer, expected: Option<Isolation>) {
        let policy: Policy = toml::from_str(policy).unwrap();
        let chosen = policy.choose(tenant, asked_isolation(asked).unwrap(), offer, "image").ok();
        assert_eq!(chosen, expected, "{policy:?} {tenant} {asked}");
    }

    #[test]
    fn the_choice_follows_the_request_the_policy_and_the_image() {
        let strict = "[default.isolation]\nallow = ['linux-userns', 'wasm-process']\n[tenant.trusted.isolation]\ndefault = 'linux'";
        check("", "default", "", BOTH, Some(Isolation::Wasm));
        check("", "default", "auto", NATIVE, Some(Isolation::Linux));
        check("", "default", "linux-userns", BOTH, Some(Isolation::LinuxUserns));
        check("", "default", "wasm", NATIVE, None);
        check(strict, "default", "", BOTH, Some(Isolation::WasmProcess));
        check(strict, "default", "", NATIVE, Some(Isolation::LinuxUserns));
        check(strict, "default", "wasm", BOTH, None);
        check(strict, "trusted", "", BOTH, Some(Isolation::Linux));
        check(strict, "trusted", "wasm", BOTH, Some(Isolation::Wasm));
    }

    #[test]
    fn a_forbidden_power_is_refused_and_privileged_has_them_all() {
        let policy = "[default.options]\nforbid = ['devices']\n[tenant.trusted]";
        let policy: Policy = toml::from_str(policy).unwrap();
        assert!(policy.permit("default", &[Power::Capabilities]).is_ok());
        assert!(policy.permit("default", &[Power::Capabilities, Power::Devices]).is_err());
        assert!(policy.permit("default", &[Power::Privileged]).is_err());
        assert!(policy.permit("trusted", &[Power::Privileged]).is_ok());
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in [
            "[default]\nisolations = 1",
            "[default.options]\nforbid = ['all']",
            "[tenants]",
            "[default.isolation]\nallow = ['vm']",
        ] {
            assert!(toml::from_str::<Policy>(text).is_err(), "{text}");
        }
    }
}
