//! The kit of the test suites, which know only what users know: the program `proa`, its command line, the Docker API
//! on its socket, and what the kernel shows from outside. It must not use the crates of the product, except the
//! samples (as bytes) and the registry's server (as the other end of a pull).
//!
//! The nouns: a [`Node`] is one running host with a root of its own; an [`Output`] is what a command left behind; a
//! [`Image`](image::Image) is content made by hand, also content nobody honest would make; a
//! [`Shelf`](shelf::Shelf) serves such content as a registry; an [`Outside`](outside::Outside) is a process as the
//! kernel shows it.
#![forbid(unsafe_code)]

pub mod api;
pub mod canary;
pub mod command;
pub mod container;
pub mod created;
pub mod docker;
pub mod guest;
pub mod harness;
pub mod hostile;
pub mod image;
pub mod isolation;
pub mod leftovers;
pub mod load;
pub mod machine;
pub mod need;
pub mod node;
pub mod outside;
pub mod peer;
pub mod program;
pub mod python;
pub mod registry;
pub mod shelf;
pub mod skips;
pub mod tarball;
pub mod wait;
pub mod zstd;

pub use proa_samples as samples;
pub use wat;

pub use command::Output;
pub use container::Container;
pub use harness::{Suite, Under};
pub use isolation::Isolation;
pub use need::Need;
pub use node::Node;
