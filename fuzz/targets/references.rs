//! Names: what parses shows itself as text that parses to the same, and nothing in it climbs out of a path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proa_registry::{Digest, LayoutName, Platform, Reference};

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        let shown = reference.to_string();
        assert_eq!(Reference::parse(&shown).expect("what is shown parses"), reference, "{shown}");
        let familiar = reference.familiar();
        assert_eq!(Reference::parse(&familiar).expect("the familiar form parses"), reference, "{familiar}");
        let parts = reference.repository().split('/');
        assert!(parts.clone().all(|part| !part.is_empty() && part != "." && part != ".."), "{shown}");
        assert!(reference.tag().is_some() || reference.digest().is_some());
        assert!(!shown.contains(|char: char| char.is_control() || char.is_whitespace()), "{shown:?}");
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text);
        assert!(!digest.folder().contains(['/', '.']));
    }
    if let Ok(platform) = text.parse::<Platform>() {
        let again: Platform = platform.to_string().parse().expect("what is shown parses");
        assert_eq!(again, platform);
        assert!(platform.matches(&platform));
    }
    if let Ok(name) = text.parse::<LayoutName>() {
        let again: LayoutName = name.to_string().parse().expect("what is shown parses");
        assert_eq!(again, name);
    }
});
