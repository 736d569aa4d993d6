//! placeholder
#![allow(dead_code, unused_variables)] // until all parts have landed

mod cancel;
#[cfg(feature = "server")]
pub mod cli;
pub mod engine;
pub mod error;
pub mod events;
pub mod hash;
#[cfg(feature = "server")]
mod logging;
pub mod manager;
pub mod position;
#[cfg(feature = "server")]
mod protocol;
#[cfg(feature = "server")]
mod server;
pub use cancel::CancelToken;
