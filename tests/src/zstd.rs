//! zstd frames written byte by byte (RFC 8878): content in blocks that are not compressed, and what no honest writer makes.

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The most that one block holds.
const BLOCK: usize = 128 << 10;
/// The descriptor of a window of 128 KiB.
const WINDOW: u8 = 7 << 3;

/// `bytes` as one frame.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut frame = begin(WINDOW);
    let mut blocks = bytes.chunks(BLOCK).peekable();
    if blocks.peek().is_none() {
        frame.extend_from_slice(&block(true, 0, 0));
    }
    while let Some(piece) = blocks.next() {
        frame.extend_from_slice(&block(blocks.peek().is_none(), 0, piece.len()));
        frame.extend_from_slice(piece);
    }
    frame
}

/// `head`, and zeros up to `length` bytes in all: four bytes of frame for each 128 KiB.
///
/// # Panics
/// When `length` is less than the length of `head`.
pub fn bomb(head: &[u8], length: u64) -> Vec<u8> {
    let mut frame = begin(WINDOW);
    for piece in head.chunks(BLOCK) {
        frame.extend_from_slice(&block(false, 0, piece.len()));
        frame.extend_from_slice(piece);
    }
    let mut left = length.checked_sub(head.len() as u64).expect("a bomb is longer than its head");
    while left > 0 {
        let size = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        left -= size as u64;
        frame.extend_from_slice(&block(left == 0, 1, size));
        frame.push(0);
    }
    frame
}

/// `bytes` in a frame that asks its reader for a window of 3.75 TiB.
pub fn wide(bytes: &[u8]) -> Vec<u8> {
    let mut frame = zstd(bytes);
    frame[5] = 0xff;
    frame
}

fn begin(window: u8) -> Vec<u8> {
    let mut frame = MAGIC.to_vec();
    // No checksum, no dictionary, the size of the content unknown.
    frame.extend_from_slice(&[0, window]);
    frame
}

/// A block's header: whether it is the last, its type (0 as it is, 1 one byte repeated), its size.
fn block(last: bool, kind: u32, size: usize) -> [u8; 3] {
    let header = u32::from(last) | kind << 1 | u32::try_from(size).expect("a block is small") << 3;
    let [low, middle, high, _] = header.to_le_bytes();
    [low, middle, high]
}
