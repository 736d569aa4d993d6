//! One binary for all integration tests; see `support` for what they share.

mod support;
// mod transcripts;
