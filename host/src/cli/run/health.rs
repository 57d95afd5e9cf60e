//! `--health-*`: the check of a container's health.

use anyhow::{Context, bail};
use bollard_stubs::models::HealthConfig;

use super::args::HealthArgs;
use crate::cli::moment;

/// The check that was asked for; `None` leaves the image's.
pub(crate) fn parse(args: &HealthArgs) -> anyhow::Result<Option<HealthConfig>> {
    let is_asked = args.health_cmd.is_some()
        || args.health_retries.is_some()
        || [&args.health_interval, &args.health_timeout, &args.health_start_period, &args.health_start_interval]
            .into_iter()
            .any(Option::is_some);
    if args.no_healthcheck {
        if is_asked {
            bail!("--no-healthcheck conflicts with --health-* options");
        }
        return Ok(Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }));
    }
    if !is_asked {
        return Ok(None);
    }
    if args.health_retries.is_some_and(|retries| retries < 0) {
        bail!("--health-retries cannot be negative");
    }
    Ok(Some(HealthConfig {
        test: args.health_cmd.as_ref().map(|command| vec!["CMD-SHELL".to_owned(), command.clone()]),
        interval: time("--health-interval", args.health_interval.as_deref())?,
        timeout: time("--health-timeout", args.health_timeout.as_deref())?,
        retries: args.health_retries,
        start_period: time("--health-start-period", args.health_start_period.as_deref())?,
        start_interval: time("--health-start-interval", args.health_start_interval.as_deref())?,
    }))
}

fn time(flag: &str, typed: Option<&str>) -> anyhow::Result<Option<i64>> {
    let Some(typed) = typed else { return Ok(None) };
    let nanos = moment::duration(typed).with_context(|| format!("read {flag}"))?;
    if nanos < 0 {
        bail!("{flag} cannot be negative");
    }
    Ok(Some(nanos))
}
