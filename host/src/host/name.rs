//! Names for containers that were given none, and the program name of a bare module.

use crate::error::Result;
use crate::state::Table;

/// Words of the sea, for names that can be said aloud.
const MOODS: [&str; 24] = [
    "brisk", "calm", "clear", "deep", "eager", "fair", "fleet", "gentle", "glad", "keen", "light", "lively", "mild",
    "neat", "proud", "quick", "quiet", "ready", "salty", "steady", "sunny", "swift", "trim", "windy",
];
const THINGS: [&str; 24] = [
    "albatross",
    "anchor",
    "atoll",
    "bay",
    "breeze",
    "buoy",
    "coral",
    "crab",
    "current",
    "dolphin",
    "gull",
    "harbour",
    "island",
    "lagoon",
    "mast",
    "outrigger",
    "paddle",
    "petrel",
    "reef",
    "sail",
    "shell",
    "star",
    "tern",
    "wave",
];

/// Takes a free name for the container `id`, derived from its digits.
pub(crate) fn reserve_some(table: &Table, id: &str) -> Result<String> {
    let digit = |range: std::ops::Range<usize>| usize::from_str_radix(&id[range], 16).unwrap_or(0);
    let name = format!("{}_{}", MOODS[digit(0..4) % MOODS.len()], THINGS[digit(4..8) % THINGS.len()]);
    match table.reserve(&name, id) {
        Ok(()) => Ok(name),
        // Enough digits of a random id that nobody else has them.
        Err(_) => {
            let name = format!("{name}_{}", &id[..12]);
            table.reserve(&name, id).map(|()| name)
        }
    }
}

/// What a bare module is called as argument 0: the last part of its reference, without tag and digest; `app` where it
/// was asked for by its id.
pub(crate) fn program(image: &str) -> String {
    let bare = image.split('@').next().unwrap_or(image);
    let last = bare.rsplit('/').next().unwrap_or(bare);
    last.split(':').next().filter(|name| !name.is_empty() && !image.starts_with("sha256:")).unwrap_or("app").to_owned()
}
