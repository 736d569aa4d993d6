//! Tests of behaviour, from outside.

#[cfg(feature = "server")]
mod command_line;
#[cfg(feature = "server")]
mod documents;
mod library;
#[cfg(feature = "server")]
mod support;
#[cfg(feature = "server")]
mod transcripts;
