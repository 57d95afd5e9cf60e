//! What benches share: contenders run interleaved, and a table of medians and ratios.
//!
//! A speed is only ever claimed as a ratio between contenders of one run on one machine, so everything here measures
//! round by round: each round runs every contender once, in rotating order.
#![forbid(unsafe_code)]

pub mod bar;
pub mod idle;
pub mod many;
pub mod peers;
mod round;
mod table;
pub mod warm;

pub use round::{Contender, Found, Samples, interleave};
pub use table::print;
