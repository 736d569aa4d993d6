//! What one connection has agreed on: the manager behind it, the position encoding, its settings.

use crate::{manager::IoManagerHandle, position::PositionEncoding};

/// State of one connection from `initialize` on.
pub(crate) struct Session {
    pub manager: IoManagerHandle,
    pub encoding: PositionEncoding,
}
