//! What the end-to-end tests share: a client of the server, and the runner of transcripts on top of it.
//!
//! - `connection`: a server that runs, in this process or as the built binary, and whole messages to and from it.
//! - `peer`: claims messages by id or method and knows the ones nobody claimed.
//! - `client`: the peer for tests written in Rust; its mistakes are panics.
//! - `parse` -> `session` -> `disk`, `matching`, `values`: a transcript is parsed, replayed and compared.
//! - `update`: rewrites the expectations of a transcript with what the server answered.

pub mod client;
pub mod connection;
pub mod disk;
pub mod matching;
pub mod parse;
pub mod peer;
pub mod session;
pub mod update;
pub mod values;
