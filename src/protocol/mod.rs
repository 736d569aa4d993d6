//! placeholder
pub mod apply_edits;
pub mod bounded;
pub mod initialize;
pub mod schema;
pub mod status;
pub mod uri;
pub use initialize::InitializationOptions;
pub use uri::FileUri;
