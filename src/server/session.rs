//! What one connection has agreed on: the manager behind it, the position encoding, its settings.

use std::time::Instant;

use uuid::Uuid;

use super::metrics::Metrics;
use crate::{engine::Durability, manager::IoManagerHandle, position::PositionEncoding};

/// State of one connection from `initialize` on.
pub(crate) struct Session {
    pub manager: IoManagerHandle,
    pub encoding: PositionEncoding,
    /// Of tracking hashes, for requests that name none.
    pub namespace: Uuid,
    /// Of edits that do not ask for one.
    pub durability: Durability,
    /// Also bounds the texts in one answer.
    pub max_message_bytes: u64,
    pub metrics: Metrics,
    pub started: Instant,
}
