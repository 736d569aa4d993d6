//! Wire values as the engine takes them.

use uuid::Uuid;

use super::method::RequestId;
use crate::{
    engine::{Guard, TextRange},
    position::{Position, PositionEncoding},
    protocol::values::{self, Expected, Id, Range},
};

/// The guard that was given, none if nothing was; `namespace` is the session's.
pub(super) fn guard(expected: Option<Expected>, namespace: Uuid) -> Guard {
    let expected = expected.unwrap_or_default();
    Guard {
        content_hash: expected.content_hash,
        tracking_hash: expected.tracking_hash,
        namespace: expected.namespace.unwrap_or(namespace),
        version: expected.version,
    }
}

pub(super) fn text_range(range: Range, encoding: PositionEncoding) -> TextRange {
    match range {
        Range::Bytes(range) => TextRange::Bytes { start: range.start_byte, end: range.end_byte },
        Range::Positions(range) => {
            TextRange::Positions { start: position(range.start), end: position(range.end), encoding }
        }
    }
}

fn position(position: values::Position) -> Position {
    Position { line: position.line, character: position.character }
}

/// The id as notifications tell it.
impl From<&RequestId> for Option<Id> {
    fn from(id: &RequestId) -> Self {
        match id {
            RequestId::Number(number) => Some(Id::Number(*number)),
            RequestId::String(text) => Some(Id::String(text.clone())),
            RequestId::Null => None,
        }
    }
}
