//! What was typed after `run` and `create`, unjudged: names and shapes of Docker's flags, and wasmtime's `--dir`.

mod confinement;
mod health;
mod limits;
mod network;
mod storage;

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

pub(crate) use self::confinement::ConfinementArgs;
pub(crate) use self::health::HealthArgs;
pub(crate) use self::limits::LimitArgs;
pub(crate) use self::network::NetworkArgs;
pub(crate) use self::storage::StorageArgs;

/// When an image is pulled first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    Always,
    #[default]
    Missing,
    Never,
}

/// `proa run`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct RunArgs {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// The keys that leave a container's terminal
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Pass signals on to the container (not with --tty)
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::parse::boolean, value_name = "BOOL")]
    pub(crate) sig_proxy: bool,
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}

/// What `run` and `create` share.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ContainerArgs {
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Take part in stdin, stdout or stderr only
    #[arg(short, long, value_name = "STREAM")]
    pub(crate) attach: Vec<String>,
    /// The container's name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Set an environment variable; a bare NAME takes the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// The working directory inside
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Run this instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Run a small init that passes signals on and reaps
    #[arg(long)]
    pub(crate) init: bool,
    /// The signal that stops it
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds between the stop signal and the end by force
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_timeout: Option<i64>,
    /// What happens when it ends: no, on-failure[:N], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<String>,
    /// Write the container's id to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Set a label
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) label: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,
    /// Pass an annotation to the runtime
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// Where its output is kept: json-file or none
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<String>,
    /// Set an option of the log, such as max-size=10m
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) log_opt: Vec<String>,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) confinement: ConfinementArgs,
    #[command(flatten)]
    pub(crate) health: HealthArgs,
    /// The platform to take from the image, such as wasi/wasm
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// When to pull the image
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pull: Pull,
    /// Pull without a word
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Accepted for Docker's sake: nothing here is signed that way
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// A reference, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG] or a .wasm file; then the command
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"])]
    pub(crate) image_and_command: Vec<String>,
}
