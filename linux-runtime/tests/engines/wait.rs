//! Waiting for a fact: asked again and again until it holds or a deadline passes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything ordinary may take on a busy machine with two cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
pub(crate) fn found<T>(fact: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {PATIENCE:?} in vain until {fact}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `holds` is true.
pub(crate) fn until(fact: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    found(fact, || Ok(holds()?.then_some(())))
}
