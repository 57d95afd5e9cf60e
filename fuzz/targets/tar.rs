//! Puts the checksums of a mutated tar right: a fuzzer that had to guess them would see no second header.

/// Makes every block that could be a header a valid one.
pub fn fix(bytes: &mut [u8]) {
    let mut at = 0;
    while at + 512 <= bytes.len() {
        let block = &mut bytes[at..at + 512];
        at += 512;
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        let size = std::str::from_utf8(&block[124..135]).ok().and_then(|text| u64::from_str_radix(text.trim(), 8).ok());
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let content = usize::try_from(size.unwrap_or(0)).unwrap_or(usize::MAX);
        at = at.saturating_add(content.checked_next_multiple_of(512).unwrap_or(usize::MAX));
    }
}
