//! `--restart`: what happens when a container ends.

use anyhow::bail;
use bollard_stubs::models::{RestartPolicy, RestartPolicyNameEnum};

/// `no`, `on-failure[:N]`, `always` or `unless-stopped`, refused in dockerd's words.
pub(crate) fn parse(typed: &str) -> anyhow::Result<RestartPolicy> {
    let (name, count) = match typed.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (typed, None),
    };
    let count = match count.map(str::parse::<i64>) {
        Some(Ok(count)) => Some(count),
        Some(Err(_)) => bail!("invalid restart policy format: maximum retry count must be an integer"),
        None => None,
    };
    let name = match name {
        "" | "no" => RestartPolicyNameEnum::NO,
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        _ => bail!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ),
    };
    match count {
        Some(count) if count < 0 => bail!("invalid restart policy: maximum retry count cannot be negative"),
        Some(count) if count > 0 && name != RestartPolicyNameEnum::ON_FAILURE => {
            bail!("invalid restart policy: maximum retry count can only be used with 'on-failure'")
        }
        count => Ok(RestartPolicy { name: Some(name), maximum_retry_count: Some(count.unwrap_or(0)) }),
    }
}
