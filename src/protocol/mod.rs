//! The wire types: what clients send and receive, one file per method family.
//!
//! Params are only read and results only written. No type here is `flatten`ed, untagged or internally tagged *when it
//! is read*: serde would lose the place of an error in them, and every refused message names the exact JSON path.

pub mod apply_edits;
pub mod bounded;
pub mod changes;
pub mod document_change;
pub mod file_changed;
pub mod initialize;
pub mod item_error;
pub mod scan;
pub mod schema;
pub mod snippets;
pub mod status;
pub mod sync;
pub mod undo;
pub mod uri;
pub mod uri_map;
pub mod values;

pub use file_changed::{FileChange, FileChangedParams};
pub use initialize::InitializationOptions;
pub use item_error::ItemError;
pub use uri::FileUri;
pub use uri_map::UriMap;
