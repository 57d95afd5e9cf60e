//! What was typed after `run` and `create`, unjudged: names and shapes of Docker's flags, and wasmtime's `--dir`.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

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
    /// Pass signals on to the container (not with --tty)
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
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
    /// The container's name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Set an environment variable; a bare NAME takes the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Mount a directory or file
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]")]
    pub(crate) volume: Vec<String>,
    /// Give a Wasm guest a directory, as wasmtime does; without GUEST under the same name
    #[arg(long, value_name = "HOST[::GUEST]")]
    pub(crate) dir: Vec<String>,
    /// The working directory inside
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// The user inside
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Run this instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// The host name inside
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// The network: none, host, or the default
    #[arg(long, alias = "net", value_name = "NETWORK")]
    pub(crate) network: Option<String>,
    /// Publish a port of a Wasm HTTP container
    #[arg(short, long, value_name = "[[IP:]PORT:]PORT")]
    pub(crate) publish: Vec<String>,
    /// The most memory it may use, such as 64m
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,
    /// The memory that is set aside for it on this node
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_reservation: Option<String>,
    /// How many CPUs it may use, such as 0.5
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<String>,
    /// How many processes it may have; -1 for no limit
    #[arg(long, allow_negative_numbers = true, value_name = "NUMBER")]
    pub(crate) pids_limit: Option<i64>,
    /// Make its root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// What confines it: auto, wasm, wasm-process, linux or linux-userns
    #[arg(long, value_name = "MODEL")]
    pub(crate) isolation: Option<String>,
    /// Whose container it is; only one tenant's Wasm guests share a process
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// The platform to take from the image, such as wasi/wasm
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// When to pull the image
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pull: Pull,
    /// Pull without a word
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Set a label
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) label: Vec<String>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// A reference, oci:DIR[:TAG] or a .wasm file; then the command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"])]
    pub(crate) image_and_command: Vec<String>,
}
