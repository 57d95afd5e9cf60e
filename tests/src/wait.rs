//! Waiting for a fact instead of sleeping: asked again and again until it holds or its deadline passes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything ordinary may take on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a fact.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `look` finds something.
///
/// # Errors
/// Names `fact` when `patience` has passed without it, and passes on what `look` fails with.
pub fn found<T>(fact: &str, patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {patience:?} in vain until {fact}");
        }
        thread::sleep(PAUSE);
    }
}

/// Waits until `holds` is true, at most [`PATIENCE`].
///
/// # Errors
/// As [`found`].
pub fn until(fact: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    found(fact, PATIENCE, || Ok(holds()?.then_some(())))
}
