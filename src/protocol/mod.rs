//! placeholder
mod initialize;
pub(crate) mod schema;
pub(crate) use initialize::*;
