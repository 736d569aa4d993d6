//! The JSON-RPC server.

mod apply_edits;
mod convert;
mod decode;
mod file_events;
mod edit_request;
mod errors;
mod method;
mod scan;
mod session;
mod snippets;
mod status;
mod unified_diff;
