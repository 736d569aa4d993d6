//! Hashes of files: [`ContentHash`] of the bytes, [`TrackingHash`] of the tokens.

mod content;
mod lexer;
mod nesting;
mod tracking;

pub use content::{ContentHash, ContentHashError, ContentHasher};
pub(crate) use tracking::{DEEP_STACK, with_deep_stack};
pub use tracking::{ParseError, TrackingError, TrackingHash};
