//! Answers to `ploke/snippets`, encoded file by file.

use std::{io::Write, mem};

use serde::{Serialize, ser::Error};

use super::{message::Message, method::Encode};
use crate::{
    hash::ContentHash,
    protocol::snippets::{SnippetError, SnippetResult, SnippetText},
};

/// A [`SnippetsResult`](crate::protocol::snippets::SnippetsResult) whose items are JSON already.
pub(crate) struct EncodedSnippets {
    pub files: Vec<FileAnswers>,
    /// How many were asked for.
    pub asked: usize,
}

impl Encode for EncodedSnippets {
    fn encode(self, message: &mut Message) -> serde_json::Result<()> {
        let answered = self.files.iter().map(|file| file.ends.len()).sum::<usize>();
        if answered != self.asked {
            // A client that counts them would take one for another.
            return Err(Error::custom(format_args!("there are {answered} answers to {} queries", self.asked)));
        }
        let mut answers = self.in_order_asked();
        if let Some(last) = answers.iter_mut().rfind(|answers| !answers.is_empty()) {
            last.pop();
        }
        message.write_all(br#"{"snippets":["#).map_err(serde_json::Error::io)?;
        answers.into_iter().for_each(|answers| message.append(answers));
        message.write_all(b"]}").map_err(serde_json::Error::io)
    }
}

impl EncodedSnippets {
    /// All answers, a comma behind each.
    fn in_order_asked(self) -> Vec<Vec<u8>> {
        let indexes = self.files.iter().flat_map(|file| &file.ends).map(|(index, _)| index);
        if indexes.is_sorted() {
            return self.files.into_iter().map(|file| file.json).collect();
        }
        let mut answers: Vec<_> = self.files.iter().flat_map(FileAnswers::iter).collect();
        answers.sort_unstable_by_key(|(index, _)| *index);
        vec![answers.into_iter().map(|(_, json)| json).collect::<Vec<_>>().concat()]
    }
}

/// The answers about one file: JSON, one behind the other, and a comma behind each.
pub(crate) struct FileAnswers {
    json: Vec<u8>,
    /// The index of the request of each, and where the answer ends with its comma.
    ends: Vec<(usize, usize)>,
}

impl FileAnswers {
    /// Encodes answers, each with the index of its request.
    pub fn encode<'a>(answers: impl ExactSizeIterator<Item = (usize, SnippetResult<'a>)>) -> serde_json::Result<Self> {
        let (mut encoder, mut ends) = (Encoder::default(), Vec::with_capacity(answers.len()));
        for (index, answer) in answers {
            if ends.is_empty() {
                let one = estimated_bytes(&answer);
                encoder.json.reserve(one.max(one.saturating_mul(ends.capacity()).min(MAX_RESERVED_BYTES)));
            }
            encoder.answer(&answer)?;
            encoder.json.push(b',');
            ends.push((index, encoder.json.len()));
        }
        Ok(Self { json: encoder.json, ends })
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut begin = 0;
        self.ends.iter().map(move |&(index, end)| (index, &self.json[mem::replace(&mut begin, end)..end]))
    }
}

/// Taken for further answers about one file before it is known how long they are.
const MAX_RESERVED_BYTES: usize = 64 * 1024;

/// With room for what is escaped in most texts and for the rest, so that the JSON is seldom moved.
fn estimated_bytes(answer: &SnippetResult) -> usize {
    let (uri, text) = match answer {
        SnippetResult::Ok(SnippetText { uri, text, .. }) => (uri, *text),
        SnippetResult::Error(SnippetError { uri, .. }) => (uri, ""),
    };
    uri.as_str().len() + text.len() + text.len() / 8 + 256
}

/// Writes what serde would, but what is the same in all answers about a file is encoded once.
#[derive(Default)]
struct Encoder<'a> {
    json: Vec<u8>,
    uri: Option<(&'a str, Vec<u8>)>,
    content_hash: Option<(ContentHash, Vec<u8>)>,
}

impl<'a> Encoder<'a> {
    fn answer(&mut self, answer: &SnippetResult<'a>) -> serde_json::Result<()> {
        match answer {
            SnippetResult::Ok(snippet) => self.snippet(snippet),
            SnippetResult::Error(_) => serde_json::to_writer(&mut self.json, answer),
        }
    }

    fn snippet(&mut self, snippet: &SnippetText<'a>) -> serde_json::Result<()> {
        let &SnippetText { id, uri, text, byte_range, content_hash, tracking_hash, source, version } = snippet;
        let json = &mut self.json;
        json.extend(br#"{"status":"ok""#);
        member(json, r#","id":"#, id)?;
        json.extend(br#","uri":"#);
        json.extend(encoded(&mut self.uri, uri.as_str())?);
        member(json, r#","text":"#, Some(text))?;
        member(json, r#","byteRange":{"startByte":"#, Some(byte_range.start_byte))?;
        member(json, r#","endByte":"#, Some(byte_range.end_byte))?;
        json.extend(br#"},"contentHash":"#);
        json.extend(encoded(&mut self.content_hash, content_hash)?);
        member(json, r#","trackingHash":"#, tracking_hash)?;
        member(json, r#","source":"#, Some(source))?;
        member(json, r#","version":"#, version)?;
        json.push(b'}');
        Ok(())
    }
}

/// Appends a member of an object unless there is none.
fn member<T: Serialize>(json: &mut Vec<u8>, key: &str, value: Option<T>) -> serde_json::Result<()> {
    let Some(value) = value else { return Ok(()) };
    json.extend(key.as_bytes());
    serde_json::to_writer(json, &value)
}

/// The JSON of a value, which is kept until another one comes.
fn encoded<T: PartialEq + Serialize>(kept: &mut Option<(T, Vec<u8>)>, value: T) -> serde_json::Result<&[u8]> {
    if kept.as_ref().is_none_or(|(known, _)| *known != value) {
        let json = serde_json::to_vec(&value)?;
        *kept = Some((value, json));
    }
    Ok(kept.as_ref().map_or(&[], |(_, json)| json))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        error::{IoError, IoErrorKind},
        hash::TrackingHash,
        protocol::{
            FileUri,
            snippets::{SnippetsResult, Source},
            values::{ByteRange, Id},
        },
    };

    /// What an answer is made of, as it is kept elsewhere.
    #[derive(Debug, Clone)]
    struct Parts {
        id: Option<Id>,
        uri: FileUri,
        /// Without one, it is an error.
        text: Option<String>,
        range: (u64, u64),
        content: u8,
        tracking: Option<u128>,
        source: Source,
        version: Option<i32>,
    }

    impl Parts {
        fn answer(&self) -> SnippetResult<'_> {
            let (id, uri) = (self.id.as_ref(), &self.uri);
            let Some(text) = &self.text else {
                let error = (&IoError::new("a", IoErrorKind::NotFound)).into();
                return SnippetResult::Error(SnippetError { id, uri, error });
            };
            SnippetResult::Ok(SnippetText {
                id,
                uri,
                text,
                byte_range: ByteRange { start_byte: self.range.0, end_byte: self.range.1 },
                content_hash: ContentHash::of(&[self.content]),
                tracking_hash: self.tracking.map(|hash| TrackingHash(Uuid::from_u128(hash))),
                source: self.source,
                version: self.version,
            })
        }
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let id = prop_oneof![
            Just(None),
            any::<i64>().prop_map(|id| Some(Id::Number(id))),
            ".{0,3}".prop_map(|id| { Some(Id::String(id)) })
        ];
        let uri = prop::sample::select(vec!["file:///a", "file:/a", "file:///\"\\ü"]);
        let source = prop::sample::select(vec![Source::Buffer, Source::Disk]);
        let tracking = prop::option::of(any::<u128>());
        let rest = (any::<(u64, u64)>(), 0..2_u8, tracking, source, prop::option::of(any::<i32>()));
        (id, uri, prop::option::of("(.|[\\x00-\\x1f\"\\\\]){0,20}"), rest).prop_map(
            |(id, uri, text, (range, content, tracking, source, version))| Parts {
                id,
                uri: uri.parse().unwrap(),
                text,
                range,
                content,
                tracking,
                source,
                version,
            },
        )
    }

    fn encode<'a>(asked: usize, files: impl Iterator<Item = Vec<(usize, SnippetResult<'a>)>>) -> String {
        let files = files.map(|answers| FileAnswers::encode(answers.into_iter()).unwrap()).collect();
        let mut message = Message::default();
        EncodedSnippets { files, asked }.encode(&mut message).unwrap();
        String::from_utf8(message.pieces().flatten().copied().collect()).unwrap()
    }

    proptest! {
        #[test]
        fn the_answers_are_what_serde_makes_of_them_in_the_order_asked(
            answers in prop::collection::vec((parts(), 0..3_usize), 0..12),
        ) {
            let of_file = |file| answers.iter().enumerate().filter(move |(_, (_, of))| *of == file);
            let files = (0..3).map(|file| of_file(file).map(|(index, (parts, _))| (index, parts.answer())).collect());
            let snippets = answers.iter().map(|(parts, _)| parts.answer()).collect();
            prop_assert_eq!(encode(answers.len(), files), serde_json::to_string(&SnippetsResult { snippets }).unwrap());
        }
    }

    #[test]
    fn a_long_first_text_takes_no_room_for_the_others() {
        let (text, uri) = ("x".repeat(1 << 20), "file:///a".parse().unwrap());
        let part = |text: &str| Parts {
            id: None,
            uri: FileUri::clone(&uri),
            text: Some(text.to_owned()),
            range: (0, 0),
            content: 0,
            tracking: None,
            source: Source::Disk,
            version: None,
        };
        let (long, short) = (part(&text), part(""));
        let answers = (0..1000).map(|index| (index, if index == 0 { long.answer() } else { short.answer() }));
        let encoded = FileAnswers::encode(answers).unwrap();
        assert!(encoded.json.capacity() < 4 << 20, "{}", encoded.json.capacity());
        let alone = FileAnswers::encode([(0, long.answer())].into_iter()).unwrap();
        assert!(alone.json.capacity() < alone.json.len() * 5 / 4, "{}", alone.json.capacity());
    }

    #[test]
    fn no_answers_are_an_empty_list() {
        assert_eq!(encode(0, std::iter::empty()), json!({ "snippets": [] }).to_string());
    }

    #[test]
    fn an_answer_that_is_missing_is_an_error() {
        let error = EncodedSnippets { files: Vec::new(), asked: 1 }.encode(&mut Message::default()).unwrap_err();
        assert_eq!(error.to_string(), "there are 0 answers to 1 queries");
    }
}
