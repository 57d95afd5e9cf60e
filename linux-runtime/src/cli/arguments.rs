//! What can be typed: runc's verbs and flags, by runc's names.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs OCI bundles as sandboxed Linux processes
#[derive(Debug, Parser)]
#[command(name = "proa-linux", version = VERSION)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// One verb alone, with what every verb takes.
#[derive(Debug, Parser)]
struct Alone<A: Args> {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    verb: A,
}

/// The global flags that are followed by a value.
const VALUED: [&str; 4] = ["--root", "--log", "--log-format", "--rootless"];

impl Arguments {
    /// What was typed; ends the program with help or a usage error where that is what there is to say.
    pub(super) fn typed() -> Arguments {
        let words: Vec<OsString> = env::args_os().collect();
        Arguments::alone(&words).unwrap_or_else(|| Arguments::parse_from(words))
    }

    /// The verbs of every container's life without the tree of all verbs, whose making takes longer than most of them do.
    /// `None` for anything else, and for whatever the tree says better: help, mistakes.
    fn alone(words: &[OsString]) -> Option<Arguments> {
        let mut words = words.to_vec();
        let verb = words.remove(position(&words)?);
        match verb.to_str()? {
            "create" => one(words, |create| Verb::Create(Box::new(create))),
            "run" => one(words, |run| Verb::Run(Box::new(run))),
            "exec" => one(words, |exec| Verb::Exec(Box::new(exec))),
            "start" => one(words, Verb::Start),
            "state" => one(words, Verb::State),
            "kill" => one(words, Verb::Kill),
            "delete" => one(words, Verb::Delete),
            _ => None,
        }
    }
}

/// Where the verb stands.
fn position(words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = words.get(at)?.to_str()?;
        match word {
            _ if VALUED.contains(&word) => at += 2,
            _ if word.starts_with('-') => at += 1,
            _ => return Some(at),
        }
    }
}

fn one<A: Args>(words: Vec<OsString>, verb: fn(A) -> Verb) -> Option<Arguments> {
    let alone = Alone::try_parse_from(words).ok()?;
    Some(Arguments { global: alone.global, verb: verb(alone.verb) })
}

/// The second line is what engines look for.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\nspec: 1.3.0");

/// What every verb takes.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Where the state of containers is kept [default: /run/proa-linux, or $XDG_RUNTIME_DIR/proa-linux of an ordinary user]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Append failures to this file as well
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// How they are written there
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(super) log_format: LogFormat,
    /// Say more (there is nothing more to say: failures name their step)
    #[arg(long, global = true)]
    pub(super) debug: bool,
    /// Have systemd make the cgroup; cgroupsPath is then SLICE:PREFIX:NAME
    #[arg(long, global = true)]
    pub(super) systemd_cgroup: bool,
    /// Go on without cgroups that this user may not make: true, false or auto
    #[arg(id = "without-cgroups", long = "rootless", value_name = "WHEN", default_value = "auto", value_parser = ["true", "false", "auto"])]
    pub(super) rootless: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Create a container whose program waits for `start`
    Create(Box<Create>),
    /// Start the program of a created container
    Start(Named),
    /// Create a container and run it to its end
    Run(Box<Run>),
    /// Print the state of a container as JSON
    State(Named),
    /// List containers
    List {
        #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
        format: String,
        /// Only the ids
        #[arg(short, long)]
        quiet: bool,
    },
    /// List the processes of a container
    Ps {
        #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
        format: String,
        id: String,
        /// Options of ps(1)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Run one more process in a container
    Exec(Box<Exec>),
    /// Send a signal to a container
    Kill(Kill),
    /// Delete what is held of a container that has ended
    Delete(Delete),
    /// Stop all processes of a container until `resume`
    Pause { id: String },
    /// Let a paused container go on
    Resume { id: String },
    /// Change the limits of a container
    Update(Box<Update>),
    /// Print what a container uses, or what happens to it
    Events {
        /// Between two records
        #[arg(long, default_value = "5s")]
        interval: humantime::Duration,
        /// Once, and no events
        #[arg(long)]
        stats: bool,
        id: String,
    },
    /// Write an example config.json
    Spec {
        #[arg(short, long, default_value = ".")]
        bundle: PathBuf,
        /// For an ordinary user
        #[arg(long)]
        rootless: bool,
    },
    /// Print what this runtime can do, as the specification's features document
    Features,
    /// Print the steps of a bundle and run nothing
    Plan {
        #[arg(short, long, default_value = ".")]
        bundle: PathBuf,
    },
}

/// A container.
#[derive(Debug, Args)]
pub(super) struct Named {
    pub(super) id: String,
}

/// What concerns a signal.
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// To all of its processes
    #[arg(short, long)]
    pub(super) all: bool,
    pub(super) id: String,
    /// Name or number
    #[arg(default_value = "SIGTERM")]
    pub(super) signal: String,
}

/// What concerns the end of a container.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// End it first if it has not; absent is fine
    #[arg(short, long)]
    pub(super) force: bool,
    pub(super) id: String,
}

/// What concerns the making of a container.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The bundle's folder, with config.json and the root file system
    #[arg(short, long, default_value = ".")]
    pub(super) bundle: PathBuf,
    /// The unix socket that the terminal's master is sent to
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// Where to write the process's id
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// How many descriptors from 3 on the program keeps
    #[arg(long, default_value_t = 0)]
    pub(super) preserve_fds: u16,
    /// Move the root into place instead of pivoting: for a root that is a ramfs; the old root stays reachable for guests
    /// with the power to unmount
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    pub(super) id: String,
}

/// What concerns a whole life.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) create: Create,
    /// Do not wait for its end
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Keep the container's state when it has ended
    #[arg(long)]
    pub(super) keep: bool,
    /// Leave orphans of the container to init
    #[arg(long)]
    pub(super) no_subreaper: bool,
}

/// What concerns one more process.
#[derive(Debug, Args)]
pub(super) struct Exec {
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// Its working directory
    #[arg(long)]
    pub(super) cwd: Option<PathBuf>,
    /// NAME=VALUE, added to the container's
    #[arg(short, long)]
    pub(super) env: Vec<String>,
    /// Give it a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// UID[:GID]
    #[arg(short, long)]
    pub(super) user: Option<String>,
    #[arg(short = 'g', long, value_delimiter = ',')]
    pub(super) additional_gids: Vec<u32>,
    /// A process of the specification, as JSON
    #[arg(short, long, value_name = "FILE")]
    pub(super) process: Option<PathBuf>,
    /// Do not wait for its end
    #[arg(short, long)]
    pub(super) detach: bool,
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Its SELinux label
    #[arg(long)]
    pub(super) process_label: Option<String>,
    /// Its AppArmor profile
    #[arg(long)]
    pub(super) apparmor: Option<String>,
    /// No gain of privilege by execve
    #[arg(long)]
    pub(super) no_new_privs: bool,
    /// A further capability
    #[arg(short, long)]
    pub(super) cap: Vec<String>,
    #[arg(long, default_value_t = 0)]
    pub(super) preserve_fds: u16,
    /// A cgroup below the container's
    #[arg(long)]
    pub(super) cgroup: Option<String>,
    /// Also in a paused container, where it waits
    #[arg(long)]
    pub(super) ignore_paused: bool,
    pub(super) id: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<String>,
}

/// Limits; what is not given stays.
#[derive(Debug, Args)]
pub(super) struct Update {
    /// LinuxResources of the specification as JSON; `-` is standard input; nothing else counts then
    #[arg(short, long, value_name = "FILE")]
    pub(super) resources: Option<PathBuf>,
    #[arg(long)]
    pub(super) blkio_weight: Option<u16>,
    #[arg(long)]
    pub(super) cpu_period: Option<u64>,
    #[arg(long, allow_hyphen_values = true)]
    pub(super) cpu_quota: Option<i64>,
    #[arg(long)]
    pub(super) cpu_burst: Option<u64>,
    #[arg(long)]
    pub(super) cpu_share: Option<u64>,
    #[arg(long)]
    pub(super) cpu_rt_period: Option<u64>,
    #[arg(long, allow_hyphen_values = true)]
    pub(super) cpu_rt_runtime: Option<i64>,
    #[arg(long)]
    pub(super) cpuset_cpus: Option<String>,
    #[arg(long)]
    pub(super) cpuset_mems: Option<String>,
    #[arg(long, allow_hyphen_values = true)]
    pub(super) cpu_idle: Option<i64>,
    /// Bytes, also with k, m or g
    #[arg(long, allow_hyphen_values = true)]
    pub(super) memory: Option<String>,
    #[arg(long, allow_hyphen_values = true)]
    pub(super) memory_reservation: Option<String>,
    /// Memory and swap together
    #[arg(long, allow_hyphen_values = true)]
    pub(super) memory_swap: Option<String>,
    #[arg(long, allow_hyphen_values = true)]
    pub(super) pids_limit: Option<i64>,
    pub(super) id: String,
}
