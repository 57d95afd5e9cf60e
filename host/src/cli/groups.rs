//! Docker's management commands: the verbs of containers, images and builds under their kinds. Each is another name for
//! what stands at the top, and nothing more.

use clap::{Args, Subcommand};

use super::door::Door;
use super::run::args::{ContainerArgs, RunArgs};
use super::{
    attach, commit, cp, create, diff, exec, export, history, images, import, inspect, kill, load, logs, pause, port,
    prune, ps, pull, push, rename, restart, rm, rmi, run, save, start, stats, stop, tag, top, update, wait,
};

/// `proa container`.
#[derive(Debug, Args)]
pub(crate) struct ContainerGroup {
    #[command(subcommand)]
    verb: ContainerVerb,
}

#[derive(Debug, Subcommand)]
enum ContainerVerb {
    /// Take part in a running container's streams
    Attach(attach::AttachArgs),
    /// Make an image of a container's files
    Commit(commit::CommitArgs),
    /// Copy files between a container and here
    Cp(cp::CpArgs),
    /// Create a container without starting it
    Create(Box<ContainerArgs>),
    /// Show what a container has changed of its image's files
    Diff(diff::DiffArgs),
    /// Run one more program in a running container
    Exec(exec::ExecArgs),
    /// Write a container's files as a tar archive
    Export(export::ExportArgs),
    /// Show all that is known about containers
    Inspect(inspect::InspectContainerArgs),
    /// Send containers a signal
    Kill(kill::KillArgs),
    /// Show a container's output
    Logs(logs::LogsArgs),
    /// List containers
    #[command(visible_aliases = ["ps", "list"])]
    Ls(ps::PsArgs),
    /// Let containers stand still
    Pause(pause::PauseArgs),
    /// Show where a container's ports are published
    Port(port::PortArgs),
    /// Remove containers that do not run
    Prune(prune::PruneArgs),
    /// Give a container another name
    Rename(rename::RenameArgs),
    /// End containers and start them again
    Restart(restart::RestartArgs),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(rm::RmArgs),
    /// Create and run a container
    Run(Box<RunArgs>),
    /// Start containers
    Start(start::StartArgs),
    /// Show how much containers use
    Stats(stats::StatsArgs),
    /// Stop containers: their stop signal, and the end after a grace period
    Stop(stop::StopArgs),
    /// Show the processes of a container
    Top(top::TopArgs),
    /// Let paused containers go on
    Unpause(pause::PauseArgs),
    /// Change the bounds of containers
    Update(update::UpdateArgs),
    /// Wait for containers to end and print their exit codes
    Wait(wait::WaitArgs),
}

pub(crate) fn container(group: ContainerGroup, door: &Door) -> anyhow::Result<u8> {
    match group.verb {
        ContainerVerb::Attach(args) => attach::run(args, door),
        ContainerVerb::Commit(args) => commit::run(args, door),
        ContainerVerb::Cp(args) => cp::run(args, door),
        ContainerVerb::Create(args) => create::run(*args, door),
        ContainerVerb::Diff(args) => diff::run(args, door),
        ContainerVerb::Exec(args) => exec::run(args, door),
        ContainerVerb::Export(args) => export::run(args, door),
        ContainerVerb::Inspect(args) => inspect::containers(args, door),
        ContainerVerb::Kill(args) => kill::run(args, door),
        ContainerVerb::Logs(args) => logs::run(args, door),
        ContainerVerb::Ls(args) => ps::run(args, door),
        ContainerVerb::Pause(args) => pause::pause(args, door),
        ContainerVerb::Port(args) => port::run(args, door),
        ContainerVerb::Prune(args) => prune::containers(args, door),
        ContainerVerb::Rename(args) => rename::run(args, door),
        ContainerVerb::Restart(args) => restart::run(args, door),
        ContainerVerb::Rm(args) => rm::run(args, door),
        ContainerVerb::Run(args) => run::run(*args, door),
        ContainerVerb::Start(args) => start::run(args, door),
        ContainerVerb::Stats(args) => stats::run(args, door),
        ContainerVerb::Stop(args) => stop::run(args, door),
        ContainerVerb::Top(args) => top::run(args, door),
        ContainerVerb::Unpause(args) => pause::unpause(args, door),
        ContainerVerb::Update(args) => update::run(args, door),
        ContainerVerb::Wait(args) => wait::run(args, door),
    }
}

/// `proa image`.
#[derive(Debug, Args)]
pub(crate) struct ImageGroup {
    #[command(subcommand)]
    verb: ImageVerb,
}

#[derive(Debug, Subcommand)]
enum ImageVerb {
    /// Show how an image came to be
    History(history::HistoryArgs),
    /// Make an image of the files in a tar archive
    Import(import::ImportArgs),
    /// Show all that is known about images
    Inspect(inspect::InspectImageArgs),
    /// Take images from an archive
    Load(load::LoadArgs),
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::ImagesArgs),
    /// Remove images that no container uses
    Prune(prune::PruneAllArgs),
    /// Fetch an image from a registry
    Pull(pull::PullArgs),
    /// Send an image to a registry
    Push(push::PushArgs),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(rmi::RmiArgs),
    /// Write images as an archive
    Save(save::SaveArgs),
    /// Give an image one more name
    Tag(tag::TagArgs),
}

pub(crate) fn image(group: ImageGroup, door: &Door) -> anyhow::Result<u8> {
    match group.verb {
        ImageVerb::History(args) => history::run(args, door),
        ImageVerb::Import(args) => import::run(args, door),
        ImageVerb::Inspect(args) => inspect::images(args, door),
        ImageVerb::Load(args) => load::run(args, door),
        ImageVerb::Ls(args) => images::run(args, door),
        ImageVerb::Prune(args) => prune::images(args, door),
        ImageVerb::Pull(args) => pull::run(args, door),
        ImageVerb::Push(args) => push::run(args, door),
        ImageVerb::Rm(args) => rmi::run(args, door),
        ImageVerb::Save(args) => save::run(args, door),
        ImageVerb::Tag(args) => tag::run(args, door),
    }
}

/// `proa builder`.
#[derive(Debug, Args)]
pub(crate) struct BuilderGroup {
    #[command(subcommand)]
    verb: BuilderVerb,
}

#[derive(Debug, Subcommand)]
enum BuilderVerb {
    /// Remove what builds left behind
    Prune(prune::PruneAllArgs),
}

pub(crate) fn builder(group: BuilderGroup, door: &Door) -> anyhow::Result<u8> {
    match group.verb {
        BuilderVerb::Prune(args) => prune::build_cache(args, door),
    }
}
