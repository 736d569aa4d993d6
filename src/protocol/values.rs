//! Values that several methods share: ids, ranges, hashes and guards.

use std::{borrow::Cow, fmt, ops};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use crate::hash::{ContentHash, TrackingHash};

/// A string or an integer of 64 bits, echoed as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Id {
    Number(i64),
    String(String),
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an integer of 64 bits")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Id, E> {
                Ok(Id::Number(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Id, E> {
                i64::try_from(number)
                    .map(Id::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id::String(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Reads null as the default, which a field has that is left out.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A half-open range of a text, in bytes or as LSP gives it; an empty one is an insertion point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "RangeFields")]
#[schemars(!try_from, untagged)]
pub enum Range {
    Bytes(ByteRange),
    Positions(PositionRange),
}

/// Offsets into the file's raw bytes, a byte order mark and carriage returns included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start_byte: u64,
    /// Offset behind the last byte.
    pub end_byte: u64,
}

impl From<&ops::Range<usize>> for ByteRange {
    fn from(range: &ops::Range<usize>) -> Self {
        Self { start_byte: range.start as u64, end_byte: range.end as u64 }
    }
}

/// A range in lines and characters of the negotiated encoding; positions begin after a byte order mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PositionRange {
    /// Of the first character.
    pub start: Position,
    /// Behind the last character.
    pub end: Position,
}

/// A place in a text: line and character, both from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// From 0.
    pub line: u32,
    /// In code units of the negotiated encoding; beyond the line's end means the line's end.
    pub character: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RangeFields {
    start_byte: Option<u64>,
    end_byte: Option<u64>,
    start: Option<Position>,
    end: Option<Position>,
}

impl TryFrom<RangeFields> for Range {
    type Error = &'static str;

    fn try_from(fields: RangeFields) -> Result<Self, Self::Error> {
        match fields {
            RangeFields { start_byte: Some(start_byte), end_byte: Some(end_byte), start: None, end: None } => {
                Ok(Self::Bytes(ByteRange { start_byte, end_byte }))
            }
            RangeFields { start_byte: None, end_byte: None, start: Some(start), end: Some(end) } => {
                Ok(Self::Positions(PositionRange { start, end }))
            }
            _ => Err("a range is either `startByte` and `endByte` or `start` and `end`"),
        }
    }
}

/// What the caller expects a file to be before the request; whatever is given is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expected {
    /// Hash of the file's bytes; guards byte offsets.
    pub content_hash: Option<ContentHash>,
    /// Hash of the file's tokens; Rust files only, does not guard offsets.
    pub tracking_hash: Option<TrackingHash>,
    /// Namespace of tracking hashes; by default that of `initializationOptions`, else the nil UUID.
    pub namespace: Option<Uuid>,
    /// Version of the document, which must be open with just the text that is read or edited.
    pub version: Option<i32>,
}

/// A hash that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HashKind {
    /// The hash of the bytes, which every answer has.
    Content,
    /// The hash of the tokens; Rust files only.
    Tracking,
}

/// The hashes that a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileHashes {
    pub content_hash: ContentHash,
    /// Present when it was asked for or guarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_hash: Option<TrackingHash>,
}

impl JsonSchema for ContentHash {
    fn schema_name() -> Cow<'static, str> {
        "ContentHash".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "BLAKE3-256 of a file's bytes in lower-case hex digits.",
        })
    }
}

impl JsonSchema for TrackingHash {
    fn schema_name() -> Cow<'static, str> {
        "TrackingHash".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "uuid",
            "description": "UUIDv5 over the tokens of a Rust file, its path and a namespace: it ignores white space and plain comments.",
        })
    }
}
