//! What one connection has agreed on: the manager behind it, the position encoding, its settings.

use std::{collections::BTreeMap, time::Instant};

use uuid::Uuid;

use crate::{engine::Durability, manager::IoManagerHandle, position::PositionEncoding, protocol::status::MethodStats};

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
    pub started: Instant,
}

impl Session {
    /// What has become of the requests so far, by method.
    pub fn request_stats(&self) -> BTreeMap<String, MethodStats> {
        BTreeMap::new()
    }
}
