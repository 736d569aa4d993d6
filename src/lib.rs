//! placeholder
#![allow(dead_code, unused_variables)] // until all parts have landed

mod cancel;
pub mod engine;
pub mod error;
pub mod events;
pub mod hash;
pub mod manager;
pub mod position;
#[cfg(feature = "server")]
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
pub use cancel::CancelToken;
