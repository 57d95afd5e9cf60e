//! Flags about how a container's health is checked.

use clap::Args;

/// The check and its rhythm; durations are Go's, such as 1m30s.
#[derive(Debug, Default, Args)]
pub(crate) struct HealthArgs {
    /// The command that checks its health
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// The time between two checks
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_interval: Option<String>,
    /// How many failures in a row make it unhealthy
    #[arg(long, value_name = "NUMBER")]
    pub(crate) health_retries: Option<i64>,
    /// How long a check may take
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_timeout: Option<String>,
    /// How long failures do not count after the start
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_start_period: Option<String>,
    /// The time between two checks during the start period
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_start_interval: Option<String>,
    /// Check nothing, whatever the image says
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
}
