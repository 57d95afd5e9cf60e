//! What a group read from and wrote to block devices: one line a device on v2, a file for each count on v1.

use super::Layout;
use super::usage::{Block, Files};

/// The counts of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTable {
    /// As `events --stats` calls it: `ioServiceBytesRecursive` and so on.
    pub name: &'static str,
    pub counts: Vec<BlockCount>,
}

/// One device and operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockCount {
    pub major: u64,
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`; nothing where the kernel counts all in one.
    pub operation: String,
    pub value: u64,
}

const BYTES: &str = "ioServiceBytesRecursive";
const REQUESTS: &str = "ioServicedRecursive";

/// The files of v1: BFQ's where a device is scheduled by it, CFQ's on old kernels, else those of the throttle, which counts
/// whatever the scheduler.
const OLD: [(&str, [&str; 3]); 8] = [
    (
        BYTES,
        [
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes_recursive",
        ],
    ),
    (
        REQUESTS,
        ["blkio.bfq.io_serviced_recursive", "blkio.io_serviced_recursive", "blkio.throttle.io_serviced_recursive"],
    ),
    ("ioQueueRecursive", ["blkio.bfq.io_queued_recursive", "blkio.io_queued_recursive", ""]),
    ("ioServiceTimeRecursive", ["blkio.bfq.io_service_time_recursive", "blkio.io_service_time_recursive", ""]),
    ("ioWaitTimeRecursive", ["blkio.bfq.io_wait_time_recursive", "blkio.io_wait_time_recursive", ""]),
    ("ioMergedRecursive", ["blkio.bfq.io_merged_recursive", "blkio.io_merged_recursive", ""]),
    ("ioTimeRecursive", ["blkio.bfq.time_recursive", "blkio.time_recursive", ""]),
    ("sectorsRecursive", ["blkio.bfq.sectors_recursive", "blkio.sectors_recursive", ""]),
];

/// The keys of a device's line on v2.
const NEW: [(&str, &str, &str); 6] = [
    ("rbytes", BYTES, "Read"),
    ("wbytes", BYTES, "Write"),
    ("dbytes", BYTES, "Discard"),
    ("rios", REQUESTS, "Read"),
    ("wios", REQUESTS, "Write"),
    ("dios", REQUESTS, "Discard"),
];

/// Every table there is for `group`; a group that stands in no hierarchy of block devices has none.
pub(super) fn tables(layout: &Layout, group: &str) -> Vec<BlockTable> {
    if let Some(hierarchy) = layout.with("blkio") {
        let files = Files { hierarchy, group };
        let first = |names: &[&'static str; 3]| {
            let counts = names.iter().map(|name| old(&files.text(name, "")));
            counts.into_iter().find(|counts| !counts.is_empty()).unwrap_or_default()
        };
        return OLD.iter().map(|(name, names)| BlockTable { name, counts: first(names) }).collect();
    }
    layout.with("io").map(|hierarchy| new(&Files { hierarchy, group }.text("", "io.stat"))).unwrap_or_default()
}

/// Bytes and requests together, reads and writes apart.
pub(super) fn by_direction(tables: &[BlockTable]) -> Vec<Block> {
    let of = |name: &str| tables.iter().find(|table| table.name == name).map_or(&[][..], |table| &table.counts);
    let (bytes, requests) = (of(BYTES), of(REQUESTS));
    let mut devices: Vec<(u64, u64)> = bytes.iter().chain(requests).map(|one| (one.major, one.minor)).collect();
    devices.sort_unstable();
    devices.dedup();
    let mut all = Vec::new();
    for (major, minor) in devices {
        for (operation, name) in [("read", "Read"), ("write", "Write")] {
            let value = |counts: &[BlockCount]| {
                let same = |one: &&BlockCount| (one.major, one.minor) == (major, minor) && one.operation == name;
                counts.iter().find(same).map_or(0, |one| one.value)
            };
            all.push(Block { major, minor, operation, bytes: value(bytes), count: value(requests) });
        }
    }
    all
}

/// `8:0 Read 4096`, and `Total 4096` at the end, which is of no device.
fn old(text: &str) -> Vec<BlockCount> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = numbers(words.next()?)?;
        let (word, value) = (words.next()?, words.next());
        let (operation, value) = value.map_or(("", word), |value| (word, value));
        Some(BlockCount { major, minor, operation: operation.to_owned(), value: value.parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`, a line for each device.
fn new(text: &str) -> Vec<BlockTable> {
    let mut tables = [BYTES, REQUESTS].map(|name| BlockTable { name, counts: Vec::new() });
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some((major, minor)) = words.next().and_then(numbers) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let known = NEW.iter().find(|(name, _, _)| *name == key);
            let (Some((_, table, operation)), Ok(value)) = (known, value.parse()) else { continue };
            let count = BlockCount { major, minor, operation: (*operation).to_owned(), value };
            tables.iter_mut().filter(|one| one.name == *table).for_each(|one| one.counts.push(count.clone()));
        }
    }
    tables.to_vec()
}

fn numbers(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(blocks: &[Block]) -> Vec<(u64, u64, &str, u64, u64)> {
        blocks.iter().map(|one| (one.major, one.minor, one.operation, one.bytes, one.count)).collect()
    }

    #[test]
    fn reads_and_writes_of_each_device_are_told_apart() {
        let tables = new("8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=7 dios=1\nnonsense\n");
        assert_eq!(told(&by_direction(&tables)), [(8, 0, "read", 4096, 2), (8, 0, "write", 512, 1)]);
        assert_eq!(tables[0].counts.iter().map(|one| one.value).collect::<Vec<_>>(), [4096, 512, 7]);
    }

    #[test]
    fn v1_has_a_file_for_each_count() {
        let bytes = old("8:0 Read 4096\n8:0 Write 512\n8:0 Total 4608\nTotal 4608\n");
        let requests = old("8:0 Read 2\n8:0 Write 1\n");
        assert_eq!((bytes.len(), bytes[2].operation.as_str()), (3, "Total"));
        let table = |name, counts| BlockTable { name, counts };
        let tables = [table(BYTES, bytes), table(REQUESTS, requests)];
        assert_eq!(told(&by_direction(&tables)), [(8, 0, "read", 4096, 2), (8, 0, "write", 512, 1)]);
        assert_eq!(old("8:0 77\n")[0], BlockCount { major: 8, minor: 0, operation: String::new(), value: 77 });
    }
}
