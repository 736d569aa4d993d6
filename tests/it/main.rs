//! Tests of behaviour, from outside.

mod library;
#[cfg(feature = "server")]
mod support;
#[cfg(feature = "server")]
mod transcripts;
