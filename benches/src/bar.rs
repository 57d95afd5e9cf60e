//! A promise of speed, and whether this run kept it.

/// Prints a measured share beside the most it may be.
pub fn at_most(what: &str, measured: f64, bar: f64) {
    let verdict = if measured <= bar { "holds" } else { "MISSED" };
    println!("{what}: {measured:.3}, at most {bar:.3}: {verdict}");
}

/// Prints a measured number beside the least it may be.
pub fn at_least(what: &str, measured: f64, bar: f64) {
    let verdict = if measured >= bar { "holds" } else { "MISSED" };
    println!("{what}: {measured:.2}, at least {bar:.2}: {verdict}");
}
