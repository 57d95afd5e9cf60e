//! Logs on disk: cut off, damaged, rotated.

use std::fs::File;

use proptest::prelude::*;

use super::*;

fn all(log: &Log) -> Vec<Entry> {
    let reader = log.reader(0, Duration::ZERO);
    let (mut offset, end, mut entries) = (0, log.tail().len, Vec::new());
    while let Some(((base, file), to)) = reader.file_at(offset) {
        offset = offset.max(base);
        match read_entry(&file, offset - base, to.min(end) - base).unwrap() {
            Some((entry, next)) => {
                entries.push(entry);
                offset = base + next;
            }
            None => break,
        }
    }
    entries
}

fn text(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.bytes.clone()).collect()
}

proptest! {
    #[test]
    fn a_log_cut_anywhere_keeps_every_whole_record(
        pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..200)), 1..12),
        cut in 0.0..1.0_f64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("log"));
        for (error, bytes) in &pieces {
            log.append(if *error { Stream::Stderr } else { Stream::Stdout }, 7, bytes).unwrap();
        }
        let before = all(&log);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "a test's small file")]
        let length = (log.tail().len as f64 * cut) as u64;
        File::options().write(true).open(log.path()).unwrap().set_len(length).unwrap();
        let again = Log::reopen(log.path().to_owned(), Limits::default()).unwrap();
        let after = all(&again);
        prop_assert!(before.starts_with(&after));
        prop_assert!(again.tail().len <= length);
        again.append(Stream::Stdout, 8, b"more\n").unwrap();
        prop_assert_eq!(all(&again).len(), after.len() + 1);
    }

    #[test]
    fn a_rotated_log_is_within_its_limits_and_ends_with_what_came_last(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..900), 1..40),
        size in 256..2000_u64,
        files in 1..4_usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { size, files, keep: true };
        let log = Log::new(folder.path().join("log")).within(limits);
        let mut expected = Vec::new();
        for piece in &pieces {
            log.append(Stream::Stdout, 1, piece).unwrap();
            expected.extend_from_slice(piece);
            prop_assert!(log.size() <= size * files as u64);
        }
        let again = Log::reopen(log.path().to_owned(), limits).unwrap();
        prop_assert_eq!(again.tail().len, log.tail().len);
        let (before, after) = (text(&all(&log)), text(&all(&again)));
        prop_assert!(expected.ends_with(&before) && !before.is_empty());
        prop_assert_eq!(before, after);
        again.append(Stream::Stdout, 2, b"more\n").unwrap();
        prop_assert!(text(&all(&again)).ends_with(b"more\n"));
    }
}

#[test]
fn the_last_lines_are_counted_from_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new(folder.path().join("log"));
    log.append(Stream::Stdout, 1, b"one\ntwo\n").unwrap();
    log.append(Stream::Stdout, 1, b"three\n").unwrap();
    assert_eq!(log.last_lines(0).unwrap().0, log.tail().len);
    assert_eq!(log.last_lines(1).unwrap(), (0, 2));
    assert_eq!(log.last_lines(2).unwrap(), (0, 1));
    assert_eq!(log.last_lines(3).unwrap(), (0, 0));
    assert_eq!(log.last_lines(30).unwrap(), (0, 0));
}

#[test]
fn the_last_lines_are_counted_over_rotations() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new(folder.path().join("log")).within(Limits { size: 256, files: 3, keep: true });
    for number in 0..100 {
        log.append(Stream::Stdout, 1, format!("line {number}\n").as_bytes()).unwrap();
    }
    for lines in [1, 7, 12, 18] {
        let (offset, skip) = log.last_lines(lines).unwrap();
        let reader = log.reader(offset, Duration::ZERO);
        let ((base, file), _) = reader.file_at(offset).unwrap();
        let (entry, _) = read_entry(&file, offset - base, u64::MAX >> 1).unwrap().unwrap();
        assert_eq!(skip, 1, "the break before it is left out");
        assert_eq!(entry.bytes, format!("line {}\n", 99 - lines).as_bytes());
    }
}

#[test]
fn garbage_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, [9; 300]).unwrap();
    assert_eq!(Log::reopen(path.clone(), Limits::default()).unwrap().tail().len, 0);
    assert_eq!(std::fs::metadata(path).unwrap().len(), 0);
}

#[test]
fn a_log_that_is_not_kept_is_gone_after_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { keep: false, ..Limits::default() };
    let log = Log::new(folder.path().join("log")).within(limits);
    log.append(Stream::Stdout, 1, b"secret\n").unwrap();
    log.close();
    log.rest();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    log.append(Stream::Stdout, 1, b"again\n").unwrap();
    assert_eq!(text(&all(&log)), b"again\n");
}
