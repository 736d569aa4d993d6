//! placeholder
#![allow(dead_code, unused_variables)] // until all parts have landed

mod cancel;
#[cfg(feature = "server")]
pub mod cli;
mod disk;
pub mod engine;
pub mod error;
pub mod events;
pub mod hash;
#[cfg(feature = "server")]
mod logging;
pub mod manager;
pub mod position;
#[cfg(feature = "server")]
pub mod protocol;
pub mod roots;
#[cfg(feature = "server")]
pub mod server;
pub mod splice;
mod temp_name;
#[cfg(feature = "watcher")]
pub mod watch;

pub use cancel::CancelToken;
