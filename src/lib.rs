//! placeholder
#![allow(dead_code, unused_variables)] // until all parts have landed

mod cancel;
mod disk;
pub mod engine;
pub mod error;
pub mod events;
pub mod hash;
pub mod manager;
pub mod position;
#[cfg(feature = "server")]
pub mod protocol;
pub mod roots;
#[cfg(feature = "server")]
mod server;
pub mod splice;
mod temp_name;
pub use cancel::CancelToken;
