//! `ploke/snippets`.

use std::thread;

use super::{
    convert,
    errors::refuse_cancelled,
    method::{Call, Method, Reply, RpcError},
    session::Session,
};
use crate::{
    engine::{self, EmbeddingData, Snippet, parallel},
    error::IoError,
    protocol::{
        FileUri, snippets,
        snippets::{SnippetError, SnippetQuery, SnippetResult, SnippetText, SnippetsParams, SnippetsResult, Source},
        values::{HashKind, Id},
    },
};

pub(crate) struct Snippets;

impl Method for Snippets {
    const NAME: &'static str = snippets::METHOD;
    type Params = SnippetsParams;
    type Result = SnippetsResult;

    fn run(call: &Call, params: SnippetsParams) -> Result<Reply<SnippetsResult>, RpcError> {
        let session = &call.session;
        let (asked, wanted): (Vec<_>, Vec<_>) = params.snippets.into_iter().map(|query| split(query, session)).unzip();
        let outcomes =
            session.manager.snippets_of(&call.documents, session.max_message_bytes, &wanted, &call.cancel)?;
        refuse_cancelled(&outcomes)?;
        Ok(answer(asked, outcomes).into())
    }

    fn encode(result: &SnippetsResult, to: &mut Vec<u8>) -> serde_json::Result<()> {
        let SnippetsResult { snippets } = result;
        let bytes: usize = snippets.iter().map(text_bytes).sum();
        if bytes < WORTH_A_THREAD {
            return serde_json::to_writer(to, result);
        }
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // Small enough that all cores end at the same time.
        let pieces: Vec<_> = snippets.chunks(snippets.len().div_ceil(8 * cores)).collect();
        let encoded = parallel::map_waiting(&pieces, cores, serde_json::to_vec);
        to.reserve(bytes + bytes / 2);
        to.extend(br#"{"snippets":["#);
        for (index, piece) in encoded.into_iter().enumerate() {
            let piece = piece?;
            if index > 0 {
                to.push(b',');
            }
            // Without the brackets of the array that it is.
            to.extend(&piece[1..piece.len() - 1]);
        }
        to.extend(b"]}");
        Ok(())
    }
}

/// Bytes of text that take much longer to encode than a thread to start.
const WORTH_A_THREAD: usize = 256 << 10;

fn text_bytes(snippet: &SnippetResult) -> usize {
    match snippet {
        SnippetResult::Ok(snippet) => snippet.text.len(),
        SnippetResult::Error(_) => 0,
    }
}

/// What the answer repeats of the question.
struct Asked {
    id: Option<Id>,
    uri: FileUri,
}

fn split(query: SnippetQuery, session: &Session) -> (Asked, EmbeddingData) {
    let wanted = EmbeddingData {
        path: query.uri.path().to_owned(),
        source: query.source.map(engine::Source::from),
        range: query.range.map(|range| convert::text_range(range, session.encoding)),
        expected: convert::guard(query.expected, session.namespace),
        expected_text: query.expected_text,
        node_tracking_hash: query.node_tracking_hash,
        want_tracking: query.hashes.contains(&HashKind::Tracking),
    };
    (Asked { id: query.id, uri: query.uri }, wanted)
}

fn answer(asked: Vec<Asked>, outcomes: Vec<Result<Snippet, IoError>>) -> SnippetsResult {
    let snippets = asked
        .into_iter()
        .zip(outcomes)
        .map(|(Asked { id, uri }, outcome)| match outcome {
            Ok(snippet) => SnippetResult::Ok(text(id, uri, snippet)),
            Err(error) => SnippetResult::Error(SnippetError { id, uri, error: (&error).into() }),
        })
        .collect();
    SnippetsResult { snippets }
}

fn text(id: Option<Id>, uri: FileUri, snippet: Snippet) -> SnippetText {
    SnippetText {
        id,
        uri,
        byte_range: (&snippet.byte_range).into(),
        text: snippet.text,
        content_hash: snippet.content_hash,
        tracking_hash: snippet.tracking_hash,
        source: snippet.source.into(),
        version: snippet.version,
    }
}

impl From<Source> for engine::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Buffer => Self::Buffer,
            Source::Disk => Self::Disk,
        }
    }
}

impl From<engine::Source> for Source {
    fn from(source: engine::Source) -> Self {
        match source {
            engine::Source::Buffer => Self::Buffer,
            engine::Source::Disk => Self::Disk,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{error::IoErrorKind, hash::ContentHash};

    fn asked(id: i64) -> Asked {
        Asked { id: Some(Id::Number(id)), uri: format!("file:///r/{id}").parse().unwrap() }
    }

    fn snippet(text: &str) -> Snippet {
        Snippet {
            text: text.into(),
            byte_range: 2..2 + text.len(),
            content_hash: ContentHash::of(b"whole"),
            tracking_hash: None,
            source: engine::Source::Disk,
            version: None,
        }
    }

    #[test]
    fn a_large_answer_is_encoded_as_a_small_one_would_be() {
        let text = "line\n\"quoted\" é\u{1}\n".repeat(1000);
        let outcome =
            |n: i64| if n % 7 == 0 { Err(IoError::new("2", IoErrorKind::NotFound)) } else { Ok(snippet(&text)) };
        let result = answer((0..100).map(asked).collect(), (0..100).map(outcome).collect());
        let mut encoded = Vec::new();
        Snippets::encode(&result, &mut encoded).unwrap();
        assert!(encoded.len() > WORTH_A_THREAD);
        assert_eq!(encoded, serde_json::to_vec(&result).unwrap());
    }

    #[test]
    fn each_answer_repeats_id_and_uri_in_the_order_asked() {
        let outcomes = vec![Ok(snippet("fn a")), Err(IoError::new("2", IoErrorKind::NotFound))];
        assert_eq!(
            serde_json::to_value(answer(vec![asked(1), asked(2)], outcomes)).unwrap(),
            json!({ "snippets": [
                {
                    "status": "ok",
                    "id": 1,
                    "uri": "file:///r/1",
                    "text": "fn a",
                    "byteRange": { "startByte": 2, "endByte": 6 },
                    "contentHash": ContentHash::of(b"whole"),
                    "source": "disk",
                },
                {
                    "status": "error",
                    "id": 2,
                    "uri": "file:///r/2",
                    "error": { "kind": "notFound", "severity": "fatal", "message": "2: no such file or directory" },
                },
            ] })
        );
    }
}
