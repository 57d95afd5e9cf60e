//! Whether the node has room. Pure: demand in, decision out; no clock, no lock, no I/O. One account for every isolation.

use proa_sandbox::Isolation;

/// What a native container is charged where it names no `--memory-reservation`: the resident memory of a small server
/// and its kernel structures, so that a node of 8 GiB admits some 250 of them.
pub const LINUX_DEMAND: u64 = 32 << 20;
/// What a Wasm guest is charged likewise: its linear memory and its share of the worker.
pub const WASM_DEMAND: u64 = 4 << 20;

/// The memory of the node and what is given out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduler {
    capacity: u64,
    reserved: u64,
}

/// What becomes of a demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Admitted,
    /// In one sentence, with the numbers.
    Refused(String),
}

impl Scheduler {
    /// A node of `capacity` bytes.
    pub fn new(capacity: u64) -> Scheduler {
        Scheduler { capacity, reserved: 0 }
    }

    /// Reserves `demand` bytes or says why not.
    pub fn admit(&mut self, demand: u64) -> Decision {
        if demand > self.capacity {
            return Decision::Refused(never_fits(demand, self.capacity));
        }
        let free = self.capacity.saturating_sub(self.reserved);
        if demand > free {
            return Decision::Refused(format!(
                "the node has no room: the demand of {} is above the {} that are free ({} of {} are reserved)",
                mebibytes(demand),
                mebibytes(free),
                mebibytes(self.reserved),
                mebibytes(self.capacity)
            ));
        }
        self.reserved += demand;
        Decision::Admitted
    }

    /// Reserves what already runs, whether or not there is room: refusing would not end it.
    pub fn adopt(&mut self, demand: u64) {
        self.reserved = self.reserved.saturating_add(demand);
    }

    /// Gives `demand` bytes back.
    pub fn release(&mut self, demand: u64) {
        self.reserved = self.reserved.saturating_sub(demand);
    }

    /// Bytes of the node, and of those given out.
    pub fn account(&self) -> (u64, u64) {
        (self.capacity, self.reserved)
    }
}

/// Bytes a container is charged: its reservation, else the default of its model, but never more than its own limit.
pub fn demand(isolation: Isolation, reservation: Option<u64>, limit: Option<u64>) -> u64 {
    let default = if isolation.is_wasm() { WASM_DEMAND } else { LINUX_DEMAND };
    reservation.unwrap_or_else(|| limit.map_or(default, |limit| limit.min(default)))
}

/// The refusal of a demand that no amount of waiting can satisfy.
pub fn never_fits(demand: u64, capacity: u64) -> String {
    format!("the demand of {} is above the node's capacity of {}", mebibytes(demand), mebibytes(capacity))
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes / (1 << 20) * 10 + bytes % (1 << 20) * 10 / (1 << 20);
    if tenths.is_multiple_of(10) {
        format!("{} MiB", tenths / 10)
    } else {
        format!("{}.{} MiB", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn admissions_never_exceed_the_capacity_and_come_back(
            capacity in 0..10_000_u64,
            demands in proptest::collection::vec(0..4_000_u64, 0..50),
        ) {
            let mut scheduler = Scheduler::new(capacity);
            let mut held = Vec::new();
            for demand in demands {
                if scheduler.admit(demand) == Decision::Admitted {
                    held.push(demand);
                } else if let Some(back) = held.pop() {
                    scheduler.release(back);
                }
                let (total, reserved) = scheduler.account();
                prop_assert_eq!(reserved, held.iter().sum::<u64>());
                prop_assert!(reserved <= total);
            }
        }
    }

    #[test]
    fn a_refusal_names_the_numbers() {
        let mut scheduler = Scheduler::new(64 << 20);
        assert_eq!(scheduler.admit(48 << 20), Decision::Admitted);
        let Decision::Refused(sentence) = scheduler.admit(32 << 20) else { panic!("admitted") };
        assert!(
            sentence.contains("32 MiB") && sentence.contains("16 MiB") && sentence.contains("64 MiB"),
            "{sentence}"
        );
        let Decision::Refused(sentence) = scheduler.admit(65 << 20) else { panic!("admitted") };
        assert!(sentence.contains("65 MiB") && sentence.contains("64 MiB"), "{sentence}");
    }

    #[test]
    fn a_small_limit_lowers_the_default_demand() {
        assert_eq!(demand(Isolation::Linux, None, None), LINUX_DEMAND);
        assert_eq!(demand(Isolation::Linux, None, Some(1 << 20)), 1 << 20);
        assert_eq!(demand(Isolation::Wasm, Some(7), Some(1 << 20)), 7);
    }
}
