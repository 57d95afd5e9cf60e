//! What a host does about workloads that end or fall ill, as decisions without clock, lock or I/O; `host/heal.rs` and
//! `host/health.rs` act on them.

pub mod health;
pub mod restart;

/// Labels of the request (never an image's) that steer healing.
///
/// `proa.restart-on-unhealthy=true` restarts a container that became unhealthy, whatever its restart policy says.
pub const RESTART_LABEL: &str = "proa.restart-on-unhealthy";
/// `proa.healthcheck.http=/path` checks a Wasm HTTP container by a request through its handler.
pub const HTTP_LABEL: &str = "proa.healthcheck.http";
