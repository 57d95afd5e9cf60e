//! A container's files, seen from outside: copied in and out, compared with the image's, packed as a layer.
//!
//! Everything here was written by a guest that may change it while it is read. So every path is resolved by the kernel
//! beneath a handle (openat2, RESOLVE_IN_ROOT), every name is looked up in a folder's handle without following it, what is
//! opened was looked at first, and nothing of the container is executed or loaded (CVE-2018-15664, CVE-2019-14271,
//! CVE-2026-41567, CVE-2026-42306). Blocks: not for an event loop's thread. Must not know the API.

pub mod acting;
pub mod beneath;
pub mod changes;
pub mod header;
pub mod layer;
pub mod pack;
pub mod path;
pub mod unpack;
pub mod upper;
pub mod view;

/// Folders within folders beyond this are given up with a sentence: each costs a frame and a descriptor.
pub const DEEPEST: usize = 400;
