//! The command line: the tree of verbs, one verb one file, and how a failure is told.
//!
//! Every verb speaks to the host through [`client`], by the Docker Engine API and nothing else, so that what works here
//! works for Docker's clients too. Must not know what is behind the API.

mod attach;
mod autostart;
mod background;
pub(crate) mod client;
mod create;
#[cfg(feature = "demo")]
mod demo;
mod door;
mod each;
mod escape;
mod exec;
mod failure;
mod host;
mod human;
mod image;
mod images;
mod info;
mod inspect;
mod kill;
mod logs;
mod package;
mod plan;
mod progress;
mod ps;
mod pull;
mod push;
mod query;
mod rm;
mod rmi;
mod root;
pub(crate) mod run;
mod session;
mod start;
mod stop;
mod system;
mod table;
mod tag;
mod template;
mod terminal;
mod version;
mod wait;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use self::door::Door;
pub(crate) use self::failure::{Failure, report, usage};

/// Runs OCI images on one node, each under the isolation that suits it
#[derive(Debug, Parser)]
#[command(name = "proa", version, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    door: DoorArgs,
    #[command(subcommand)]
    verb: Verb,
}

/// Which host a command speaks to.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoorArgs {
    /// The socket of the host to speak to, as unix:///path; PROA_HOST says the same
    #[arg(short = 'H', long, global = true, value_name = "SOCKET")]
    host: Option<String>,
    /// The directory proa keeps its things in; PROA_ROOT says the same
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
}

impl DoorArgs {
    fn find(&self) -> anyhow::Result<Door> {
        Door::find(self.host.as_deref(), self.root.as_deref())
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create and run a container
    Run(run::args::RunArgs),
    /// Create a container without starting it
    Create(run::args::ContainerArgs),
    /// Start containers
    Start(start::StartArgs),
    /// List containers
    Ps(ps::PsArgs),
    /// Show a container's output
    Logs(logs::LogsArgs),
    /// Take part in a running container's streams
    Attach(attach::AttachArgs),
    /// Run one more program in a running container
    Exec(exec::ExecArgs),
    /// Wait for containers to end and print their exit codes
    Wait(wait::WaitArgs),
    /// Stop containers: their stop signal, and the end after a grace period
    Stop(stop::StopArgs),
    /// Send containers a signal
    Kill(kill::KillArgs),
    /// Remove containers
    Rm(rm::RmArgs),
    /// Show all that is known about containers or images
    Inspect(inspect::InspectArgs),
    /// Fetch an image from a registry
    Pull(pull::PullArgs),
    /// Send an image to a registry
    Push(push::PushArgs),
    /// List images
    Images(images::ImagesArgs),
    /// Remove images
    Rmi(rmi::RmiArgs),
    /// Give an image one more name
    Tag(tag::TagArgs),
    /// Show what the host can do and how much it has
    Info(info::InfoArgs),
    /// Show the versions of command line and host
    Version(version::VersionArgs),
    /// Look after the host itself
    System(system::SystemArgs),
    /// Print how an image would be run, step by step, and run nothing
    Plan(run::args::ContainerArgs),
    /// Make an image of a Wasm program
    Package(package::PackageArgs),
    /// Be the host, in the foreground
    Host(host::HostArgs),
    /// Show every isolation at work, in a minute, and clean up
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
}

/// Any command line but `run`'s; the exit code.
pub(crate) fn main() -> anyhow::Result<u8> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Ok(usage(&error)),
    };
    let door = || cli.door.find();
    match cli.verb {
        Verb::Run(args) => run::run(args, &door()?),
        Verb::Create(args) => create::run(args, &door()?),
        Verb::Start(args) => start::run(args, &door()?),
        Verb::Ps(args) => ps::run(args, &door()?),
        Verb::Logs(args) => logs::run(args, &door()?),
        Verb::Attach(args) => attach::run(args, &door()?),
        Verb::Exec(args) => exec::run(args, &door()?),
        Verb::Wait(args) => wait::run(args, &door()?),
        Verb::Stop(args) => stop::run(args, &door()?),
        Verb::Kill(args) => kill::run(args, &door()?),
        Verb::Rm(args) => rm::run(args, &door()?),
        Verb::Inspect(args) => inspect::run(args, &door()?),
        Verb::Pull(args) => pull::run(args, &door()?),
        Verb::Push(args) => push::run(args, &door()?),
        Verb::Images(args) => images::run(args, &door()?),
        Verb::Rmi(args) => rmi::run(args, &door()?),
        Verb::Tag(args) => tag::run(args, &door()?),
        Verb::Info(args) => info::run(args, &door()?),
        Verb::Version(args) => version::run(args, &door()?),
        Verb::System(args) => system::run(args, &door()?),
        Verb::Plan(args) => plan::run(args, &door()?),
        Verb::Package(args) => package::run(args, door),
        Verb::Host(args) => host::run(args, cli.door.root.as_deref()),
        #[cfg(feature = "demo")]
        Verb::Demo(args) => demo::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_holds_together() {
        super::Cli::command().debug_assert();
    }
}
