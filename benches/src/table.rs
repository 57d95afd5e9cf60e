//! The table a bench ends with.

use crate::round::Samples;

/// Prints median and 99 % of each contender in milliseconds, and each peer's median over the first of ours.
pub fn print(title: &str, all: &[Samples]) {
    println!("\n{title}");
    println!("{:<44} {:>10} {:>10} {:>14}", "", "median ms", "99 % ms", "times ours");
    let ours = all.iter().find(|samples| samples.ours).map(|samples| samples.median().as_secs_f64());
    for samples in all {
        let median = samples.median().as_secs_f64();
        let ratio = match ours {
            Some(ours) if !samples.ours => format!("{:.2}", median / ours),
            _ => String::from("-"),
        };
        let p99 = samples.percentile(0.99).as_secs_f64();
        println!("{:<44} {:>10.2} {:>10.2} {:>14}", samples.name, median * 1e3, p99 * 1e3, ratio);
    }
}
