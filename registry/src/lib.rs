//! proa-registry: images and how they travel. References, digests, manifests, layers, an OCI image layout as the store,
//! and both ends of the distribution protocol.
//!
//! Nouns: a [`Reference`] names an image; a [`Digest`] is its content's name; a [`Descriptor`] points at content; an
//! [`Image`] is one manifest understood; a [`Layout`] is an OCI image layout on disk and a [`Store`] is a layout with
//! unpacked layers beside it; [`Client`] talks to registries, [`Server`] is one.
//!
//! This crate must not know workloads, isolation, namespaces or any engine. Whatever it reads was written by a
//! stranger: content is verified against its digest before anything reads it, paths are resolved beneath directory
//! handles, and every size and count has a bound.
#![forbid(unsafe_code)]

pub mod archive;
mod client;
mod commit;
mod compression;
mod descriptor;
mod digest;
mod document;
mod error;
mod gc;
mod image;
mod import;
mod layers;
mod layout;
pub mod package;
mod platform;
mod reference;
mod removal;
mod server;
mod store;
mod stream;
mod turns;

pub use archive::{ArchiveName, LayoutName, Loaded};
pub use client::{
    Client, Credentials, Distribution, Event, Keeper, Login, Progress, Pulled, Pushed, Selection, Status,
    docker_config, forget_login, keep_login,
};
pub use commit::Commit;
pub use descriptor::{Descriptor, media_type};
pub use digest::{Algorithm, Digest, Verified};
pub use error::{Error, ErrorKind, Result};
pub use gc::{Lease, Swept};
pub use image::{Image, ImageKind, Layer, Variant};
pub use import::Import;
pub use layers::{LayerEvent, Limits, TarBody, TarEntry, TarKind};
pub use layout::{Ingest, Layout, Sealed};
pub use platform::Platform;
pub use reference::Reference;
pub use removal::{remove_tree, remove_tree_in};
pub use server::Server;
pub use store::{Check, Checked, Damage, Hold, Named, Repair, Store};
pub use stream::TarStream;
