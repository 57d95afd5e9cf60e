//! The sample guests, built by this package's build script and carried as bytes: for `proa demo` and for tests.
//!
//! Must not know proa: guests and this crate depend on nothing of ours. Sources and READMEs are in `guests/`.
#![forbid(unsafe_code)]

macro_rules! built {
    ($file:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $file))
    };
}

/// `hello` as a WASI 0.2 component.
pub const HELLO_COMPONENT: &[u8] = built!("hello-component.wasm");
/// `hello` as a WASI 0.1 module.
pub const HELLO_MODULE: &[u8] = built!("hello-module.wasm");
/// `hello` as a static x86-64 Linux program.
pub const HELLO_LINUX: &[u8] = built!("hello-linux");
/// `http` as a component exporting `wasi:http/incoming-handler` (WASI 0.2).
pub const HTTP_COMPONENT: &[u8] = built!("http-component.wasm");
/// `keep` as a WASI 0.2 component.
pub const KEEP_COMPONENT: &[u8] = built!("keep-component.wasm");
/// `probe`, the conformance suite's guest, as a WASI 0.2 component.
pub const PROBE_COMPONENT: &[u8] = built!("probe-component.wasm");
/// `probe` as a WASI 0.1 module.
pub const PROBE_MODULE: &[u8] = built!("probe-module.wasm");
/// `probe` as a static x86-64 Linux program.
pub const PROBE_LINUX: &[u8] = built!("probe-linux");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_has_the_format_its_name_says() {
        let component = b"\0asm\x0d\0\x01\0";
        let module = b"\0asm\x01\0\0\0";
        for bytes in [HELLO_COMPONENT, HTTP_COMPONENT, KEEP_COMPONENT, PROBE_COMPONENT] {
            assert_eq!(&bytes[..8], component);
        }
        for bytes in [HELLO_MODULE, PROBE_MODULE] {
            assert_eq!(&bytes[..8], module);
        }
        for bytes in [HELLO_LINUX, PROBE_LINUX] {
            assert_eq!(&bytes[..4], b"\x7fELF");
        }
    }
}
