//! What the host knows about its containers, in memory and on disk. Must not know the API, images or runtimes' insides.

pub mod container;
pub mod follower;
pub mod log;
pub mod record;
pub mod seal;
pub mod status;
pub mod table;

pub use container::Container;
pub use follower::{Follower, Until};
pub use log::Log;
pub use record::Record;
pub use status::{Event, Status};
pub use table::Table;
