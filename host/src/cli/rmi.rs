//! `rmi`: removes images.

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::door::Door;
use super::each::each;
use super::platform;
use super::query::{Query, encode_image};

/// `proa rmi`.
#[derive(Debug, Args)]
pub(crate) struct RmiArgs {
    /// Also when an ended container was made from it
    #[arg(short, long)]
    force: bool,
    /// Keep what is left without a name
    #[arg(long)]
    no_prune: bool,
    /// Only this platform of the image
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub(crate) fn run(args: RmiArgs, door: &Door) -> anyhow::Result<u8> {
    let platforms = args.platform.iter().map(|typed| platform::json(typed)).collect::<anyhow::Result<Vec<String>>>()?;
    let mut client = Client::connect(door)?;
    each(&args.images, |name| {
        let mut query = Query::new(format!("/images/{}", encode_image(name)))
            .flag("force", args.force)
            .flag("noprune", args.no_prune);
        for platform in &platforms {
            query = query.with("platforms", platform);
        }
        let path = query.into_path();
        let removed = client.delete(&path)?.unwrap_or_default();
        let lines = removed.as_array().into_iter().flatten().map(line).collect::<Vec<_>>();
        Ok(lines.join("\n"))
    })
}

fn line(removed: &Value) -> String {
    match (removed["Untagged"].as_str(), removed["Deleted"].as_str()) {
        (Some(name), _) => format!("Untagged: {name}"),
        (None, deleted) => format!("Deleted: {}", deleted.unwrap_or_default()),
    }
}
