//! Pressure stall information (Documentation/accounting/psi.rst): how long something waited for what it lacked.

/// Of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Some of the processes waited.
    pub some: Stall,
    /// All of them did.
    pub full: Stall,
}

/// Shares of time in percent over 10, 60 and 300 seconds, and microseconds in all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total: u64,
}

impl Pressure {
    /// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`, which old kernels lack for processors.
    pub(super) fn parse(text: &str) -> Option<Pressure> {
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(stall);
        Some(Pressure { some: line("some ")?, full: line("full ").unwrap_or_default() })
    }
}

fn stall(line: &str) -> Stall {
    let value = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
    let share = |name: &str| value(name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    Stall {
        avg10: share("avg10="),
        avg60: share("avg60="),
        avg300: share("avg300="),
        total: value("total=").and_then(|text| text.parse().ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read() {
        let text =
            "some avg10=0.17 avg60=0.36 avg300=0.19 total=86399\nfull avg10=0.15 avg60=0.33 avg300=0.17 total=82018\n";
        let told = Pressure::parse(text).unwrap();
        assert_eq!(told.some, Stall { avg10: 0.17, avg60: 0.36, avg300: 0.19, total: 86_399 });
        assert_eq!(told.full.total, 82_018);
        assert_eq!(Pressure::parse(""), None);
    }
}
