//! Queries and their filters: whatever they hold, they are read or refused in one sentence, and a filter that is read is
//! read the same from what it means.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proa::api;

fuzz_target!(|text: &str| {
    if let Err(sentence) = api::read_filters(text, &["name", "label", "status", "id"]) {
        assert!(!sentence.contains('\n') && !sentence.is_empty(), "{sentence:?}");
    }
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let plain = api::read_filters(&format!("filters={encoded}"), &["name", "label"]);
    let again = api::read_filters(&format!("x=1&filters={encoded}&y"), &["name", "label"]);
    assert_eq!(plain, again);
});
