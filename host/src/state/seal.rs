//! The line behind what the host writes down: a disk that changed one byte of a command must not have it run. Knows nothing
//! of what is sealed, but that its JSON holds no line's end.

use proa_registry::Digest;

/// `json` with its seal behind it.
pub fn sealed(mut json: Vec<u8>) -> Vec<u8> {
    let seal = seal(&json);
    json.extend_from_slice(seal.as_bytes());
    json
}

/// The JSON of a file, if its seal fits. Files of before there were seals have none.
pub fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    // No newline is written within the JSON, so the first one ends it.
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Some(bytes) };
    let (json, rest) = bytes.split_at(end);
    (rest == seal(json).as_bytes()).then_some(json)
}

fn seal(json: &[u8]) -> String {
    format!("\n{}\n", Digest::sha256_of(json))
}
