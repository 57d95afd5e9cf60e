//! The command line: the tree of verbs, one verb one file, and how a failure is told.
//!
//! Every verb speaks to the host through [`client`], by the Docker Engine API and nothing else, so that what works here
//! works for Docker's clients too. Must not know what is behind the API.

mod attach;
mod autostart;
mod background;
mod check;
pub(crate) mod client;
mod commit;
mod completion;
mod cp;
mod create;
#[cfg(feature = "demo")]
mod demo;
mod df;
mod diff;
mod docker_config;
mod door;
mod each;
mod escape;
mod events;
mod exec;
mod export;
mod failure;
mod filters;
mod groups;
mod history;
mod host;
mod human;
mod image;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logs;
mod man;
mod moment;
mod network;
mod out_file;
mod package;
pub(crate) mod parse;
mod pause;
mod plan;
mod platform;
mod port;
mod progress;
mod prune;
mod ps;
mod pull;
mod push;
mod query;
mod rename;
mod restart;
mod rm;
mod rmi;
mod root;
pub(crate) mod run;
mod save;
mod search;
mod session;
mod start;
mod stats;
mod stop;
mod system;
mod table;
mod tag;
mod template;
mod terminal;
mod top;
mod update;
mod version;
mod volume;
mod wait;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use self::door::Door;
pub(crate) use self::failure::{Failure, report};

/// Runs OCI images on one node, each under the isolation that suits it
#[derive(Debug, Parser)]
#[command(name = "proa", version, disable_version_flag = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    /// Print version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
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
    Run(Box<run::args::RunArgs>),
    /// Create a container without starting it
    Create(Box<run::args::ContainerArgs>),
    /// Start containers
    Start(start::StartArgs),
    /// End containers and start them again
    Restart(restart::RestartArgs),
    /// List containers
    Ps(ps::PsArgs),
    /// Show a container's output
    Logs(logs::LogsArgs),
    /// Take part in a running container's streams
    Attach(attach::AttachArgs),
    /// Run one more program in a running container
    Exec(exec::ExecArgs),
    /// Show the processes of a container
    Top(top::TopArgs),
    /// Show how much containers use
    Stats(stats::StatsArgs),
    /// Wait for containers to end and print their exit codes
    Wait(wait::WaitArgs),
    /// Stop containers: their stop signal, and the end after a grace period
    Stop(stop::StopArgs),
    /// Send containers a signal
    Kill(kill::KillArgs),
    /// Let containers stand still
    Pause(pause::PauseArgs),
    /// Let paused containers go on
    Unpause(pause::PauseArgs),
    /// Give a container another name
    Rename(rename::RenameArgs),
    /// Change the bounds of containers
    Update(update::UpdateArgs),
    /// Show where a container's ports are published
    Port(port::PortArgs),
    /// Remove containers
    Rm(rm::RmArgs),
    /// Show all that is known about containers, images, networks or volumes
    Inspect(inspect::InspectArgs),
    /// Copy files between a container and here
    Cp(cp::CpArgs),
    /// Show what a container has changed of its image's files
    Diff(diff::DiffArgs),
    /// Write a container's files as a tar archive
    Export(export::ExportArgs),
    /// Make an image of a container's files
    Commit(commit::CommitArgs),
    /// Show what happens on the host, as it happens
    Events(events::EventsArgs),
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
    /// Show how an image came to be
    History(history::HistoryArgs),
    /// Write images as an archive
    Save(save::SaveArgs),
    /// Take images from an archive
    Load(load::LoadArgs),
    /// Make an image of the files in a tar archive
    Import(import::ImportArgs),
    /// Look for images in a registry
    Search(search::SearchArgs),
    /// Log in to a registry
    Login(login::LoginArgs),
    /// Log out of a registry
    Logout(login::LogoutArgs),
    /// Look after containers
    Container(groups::ContainerGroup),
    /// Look after images
    Image(groups::ImageGroup),
    /// Look after volumes
    Volume(volume::VolumeArgs),
    /// Look after networks
    Network(network::NetworkArgs),
    /// Look after builds
    Builder(groups::BuilderGroup),
    /// Look after the host itself
    System(system::SystemArgs),
    /// Show what the host can do and how much it has
    Info(info::InfoArgs),
    /// Show the versions of command line and host
    Version(version::VersionArgs),
    /// Print how an image would be run, step by step, and run nothing
    Plan(Box<run::args::ContainerArgs>),
    /// Make an image of a Wasm program
    Package(package::PackageArgs),
    /// Be the host, in the foreground
    Host(host::HostArgs),
    /// Show every isolation at work, in a minute, and clean up
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// Print what a shell needs to complete commands
    Completion(completion::CompletionArgs),
    /// Write the manual pages
    Man(man::ManArgs),
}

/// Any command line but `run`'s; the exit code.
pub(crate) fn main() -> anyhow::Result<u8> {
    let cli: Cli = match parse::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return Ok(code),
    };
    let door = || cli.door.find();
    match cli.verb {
        Verb::Run(args) => run::run(*args, &door()?),
        Verb::Create(args) => create::run(*args, &door()?),
        Verb::Start(args) => start::run(args, &door()?),
        Verb::Restart(args) => restart::run(args, &door()?),
        Verb::Ps(args) => ps::run(args, &door()?),
        Verb::Logs(args) => logs::run(args, &door()?),
        Verb::Attach(args) => attach::run(args, &door()?),
        Verb::Exec(args) => exec::run(args, &door()?),
        Verb::Top(args) => top::run(args, &door()?),
        Verb::Stats(args) => stats::run(args, &door()?),
        Verb::Wait(args) => wait::run(args, &door()?),
        Verb::Stop(args) => stop::run(args, &door()?),
        Verb::Kill(args) => kill::run(args, &door()?),
        Verb::Pause(args) => pause::pause(args, &door()?),
        Verb::Unpause(args) => pause::unpause(args, &door()?),
        Verb::Rename(args) => rename::run(args, &door()?),
        Verb::Update(args) => update::run(args, &door()?),
        Verb::Port(args) => port::run(args, &door()?),
        Verb::Rm(args) => rm::run(args, &door()?),
        Verb::Inspect(args) => inspect::run(args, &door()?),
        Verb::Cp(args) => cp::run(args, &door()?),
        Verb::Diff(args) => diff::run(args, &door()?),
        Verb::Export(args) => export::run(args, &door()?),
        Verb::Commit(args) => commit::run(args, &door()?),
        Verb::Events(args) => events::run(args, &door()?),
        Verb::Pull(args) => pull::run(args, &door()?),
        Verb::Push(args) => push::run(args, &door()?),
        Verb::Images(args) => images::run(args, &door()?),
        Verb::Rmi(args) => rmi::run(args, &door()?),
        Verb::Tag(args) => tag::run(args, &door()?),
        Verb::History(args) => history::run(args, &door()?),
        Verb::Save(args) => save::run(args, &door()?),
        Verb::Load(args) => load::run(args, &door()?),
        Verb::Import(args) => import::run(args, &door()?),
        Verb::Search(args) => search::run(args, &door()?),
        Verb::Login(args) => login::login(args, &door()?),
        Verb::Logout(args) => login::logout(args),
        Verb::Container(args) => groups::container(args, &door()?),
        Verb::Image(args) => groups::image(args, &door()?),
        Verb::Volume(args) => volume::run(args, &door()?),
        Verb::Network(args) => network::run(args, &door()?),
        Verb::Builder(args) => groups::builder(args, &door()?),
        Verb::System(args) => system::run(args, &door()?),
        Verb::Info(args) => info::run(args, &door()?),
        Verb::Version(args) => version::run(args, &door()?),
        Verb::Plan(args) => plan::run(*args, &door()?),
        Verb::Package(args) => package::run(args, door),
        Verb::Host(args) => host::run(args, cli.door.root.as_deref()),
        #[cfg(feature = "demo")]
        Verb::Demo(args) => demo::run(args),
        Verb::Completion(args) => completion::run(args),
        Verb::Man(args) => man::run(args),
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
