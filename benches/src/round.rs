//! Rounds: every contender once, in rotating order, after a pause that users' machines have too.

use std::any::Any;
use std::fmt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// One program that does the same job as the others.
pub struct Contender {
    /// Its name and what it was asked for, as the table's row.
    pub name: String,
    /// Whether it is ours; ratios are peers over ours.
    pub ours: bool,
    /// The command whose whole wall time counts, made afresh each round (the argument is the round).
    pub command: Box<dyn Fn(usize) -> Command>,
    /// What must live as long as the contender runs: scratch folders, a host.
    pub keep: Box<dyn Any>,
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).field("ours", &self.ours).finish_non_exhaustive()
    }
}

/// A contender, or the reason why it takes no part.
#[derive(Debug)]
pub enum Found {
    Ready(Contender),
    Missing { name: String, reason: String },
}

/// The wall times of one contender, sorted.
#[derive(Debug)]
pub struct Samples {
    pub name: String,
    pub ours: bool,
    sorted: Vec<Duration>,
}

impl Samples {
    /// Of times measured elsewhere.
    pub fn new(name: impl Into<String>, ours: bool, mut times: Vec<Duration>) -> Samples {
        times.sort_unstable();
        Samples { name: name.into(), ours, sorted: times }
    }

    /// The time that `share` (0.0 to 1.0) of the runs stayed within.
    pub fn percentile(&self, share: f64) -> Duration {
        let last = self.sorted.len() - 1;
        let index = (share * last as f64).round();
        self.sorted[(index as usize).min(last)]
    }

    /// The median.
    pub fn median(&self) -> Duration {
        self.percentile(0.5)
    }
}

/// Runs `rounds` rounds of all contenders, `pause` apart, and gives the times back in the order given.
///
/// # Errors
/// When a command cannot be run or does not exit 0: a failing contender is not a fast one.
pub fn interleave(contenders: &[Contender], rounds: usize, pause: Duration) -> Result<Vec<Samples>> {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..=rounds {
        for turn in 0..contenders.len() {
            let index = (turn + round) % contenders.len();
            std::thread::sleep(pause); // part of what is measured: a start after quiet is what users see (sparse)
            let took = run(&contenders[index], round)?;
            // The first round warms caches and counts for nobody.
            if round > 0 {
                times[index].push(took);
            }
        }
    }
    Ok(contenders
        .iter()
        .zip(times)
        .map(|(contender, times)| Samples::new(contender.name.clone(), contender.ours, times))
        .collect())
}

fn run(contender: &Contender, round: usize) -> Result<Duration> {
    let mut command = (contender.command)(round);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.spawn().and_then(|child| child.wait_with_output());
    let took = start.elapsed();
    let output = output.with_context(|| format!("run {}", contender.name))?;
    if !output.status.success() {
        bail!("{} failed ({}): {}", contender.name, output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(took)
}
