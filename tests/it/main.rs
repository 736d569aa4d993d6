//! Tests of behaviour, from outside.

#[cfg(feature = "server")]
mod command_line;
#[cfg(feature = "server")]
mod documents;
mod library;
#[cfg(feature = "server")]
// Watching is tested on Linux only.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
mod support;
#[cfg(feature = "server")]
mod transcripts;
// The programs and the signals of Linux.
#[cfg(all(feature = "server", target_os = "linux"))]
mod watching;
