//! What takes one transaction back.

use std::ffi::CString;

use uuid::Uuid;

use super::RecordedPath;
use crate::{
    disk::Metadata,
    encoding::{DecodeError, Decoder, Encoder, Kind},
    hash::ContentHash,
};

/// What takes a transaction back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UndoEntry {
    pub origin: Uuid,
    pub steps: Vec<UndoStep>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum UndoStep {
    Restore {
        at: RecordedPath,
        /// What the transaction left there, if anything.
        left: Option<ContentHash>,
        before: Option<Before>,
    },
    MoveBack {
        now_at: RecordedPath,
        was_at: RecordedPath,
        left: ContentHash,
        /// What was where the file is now.
        overwritten: Option<Before>,
    },
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Before {
    pub bytes: Vec<u8>,
    /// `None` if the file that has taken its place has the same.
    pub metadata: Option<Metadata>,
}

impl UndoEntry {
    /// Encodes it behind so many zeros.
    pub(super) fn encode_behind(&self, begin: usize) -> Vec<u8> {
        let mut to = Encoder::behind(begin, Kind::Undo);
        to.uuid(self.origin);
        for step in &self.steps {
            match step {
                UndoStep::Restore { at, left, before } => {
                    to.tag(0);
                    at.encode(&mut to);
                    to.optional(left.as_ref(), Encoder::hash);
                    to.optional(before.as_ref(), Before::encode);
                }
                UndoStep::MoveBack { now_at, was_at, left, overwritten } => {
                    to.tag(1);
                    now_at.encode(&mut to);
                    was_at.encode(&mut to);
                    to.hash(left);
                    to.optional(overwritten.as_ref(), Before::encode);
                }
            }
        }
        to.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(bytes, Kind::Undo)?;
        let origin = from.uuid()?;
        let steps = from.rest(|from| {
            Ok(match from.tag()? {
                0 => UndoStep::Restore {
                    at: RecordedPath::decode(from)?,
                    left: from.optional(Decoder::hash)?,
                    before: from.optional(Before::decode)?,
                },
                1 => UndoStep::MoveBack {
                    now_at: RecordedPath::decode(from)?,
                    was_at: RecordedPath::decode(from)?,
                    left: from.hash()?,
                    overwritten: from.optional(Before::decode)?,
                },
                _ => return Err(DecodeError::Torn),
            })
        })?;
        Ok(Self { origin, steps })
    }
}

impl Before {
    fn encode(to: &mut Encoder, before: &Self) {
        to.bytes(&before.bytes);
        to.optional(before.metadata.as_ref(), encode_metadata);
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { bytes: from.bytes()?.to_vec(), metadata: from.optional(decode_metadata)? })
    }
}

pub(super) fn encode_metadata(to: &mut Encoder, metadata: &Metadata) {
    let Metadata { mode, owner, group, attributes } = metadata;
    for number in [mode, owner, group] {
        to.number((*number).into());
    }
    to.number(attributes.len() as u64);
    for (name, value) in attributes {
        to.bytes(name.to_bytes());
        to.optional(value.as_ref(), |to, value| to.bytes(value));
    }
}

pub(super) fn decode_metadata(from: &mut Decoder) -> Result<Metadata, DecodeError> {
    let mut number = || u32::try_from(from.number()?).map_err(|_| DecodeError::Torn);
    let (mode, owner, group) = (number()?, number()?, number()?);
    let attribute = |from: &mut Decoder| {
        let name = CString::new(from.bytes()?).map_err(|_| DecodeError::Torn)?;
        Ok((name, from.optional(|from| Ok(from.bytes()?.to_vec()))?))
    };
    let attributes = (0..from.number()?).map(|_| attribute(from)).collect::<Result<_, _>>()?;
    Ok(Metadata { mode, owner, group, attributes })
}
