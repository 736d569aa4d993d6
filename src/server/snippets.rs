//! `ploke/snippets`.

use super::{
    convert,
    encoded_snippets::{EncodedSnippets, FileAnswers},
    method::{Call, Method, Reply, RpcError},
    session::Session,
};
use crate::{
    engine::{self, Asking, EmbeddingData, SnippetRef},
    error::IoError,
    protocol::{
        FileUri, snippets,
        snippets::{SnippetError, SnippetQuery, SnippetResult, SnippetText, SnippetsParams, Source},
        values::{HashKind, Id},
    },
};

pub(crate) struct Snippets;

impl Method for Snippets {
    const NAME: &'static str = snippets::METHOD;
    type Params = SnippetsParams;
    type Result = EncodedSnippets;

    fn run(call: &Call, params: SnippetsParams) -> Result<Reply<EncodedSnippets>, RpcError> {
        let session = &call.session;
        let (ids, wanted): (Vec<_>, Vec<_>) = params.snippets.into_iter().map(|query| split(query, session)).unzip();
        // Encoded where they are read, by many threads, and while the text is still in the processor's cache.
        let asking = Asking {
            documents: &call.documents,
            max_bytes: session.max_message_bytes,
            since: call.received,
            cancel: &call.cancel,
        };
        let answers = session.manager.snippets_with(&wanted, &asking, |found| {
            FileAnswers::encode(
                found.map(|(index, found)| (index, answer(ids[index].as_ref(), &wanted[index].path, found))),
            )
        })?;
        if call.cancel.is_cancelled() {
            return Err(RpcError::cancelled());
        }
        let files = answers.into_iter().collect::<serde_json::Result<_>>();
        let files = files.map_err(|error| RpcError::internal(format!("a snippet could not be encoded: {error}")))?;
        Ok(EncodedSnippets { files, asked: wanted.len() }.into())
    }
}

fn split(query: SnippetQuery, session: &Session) -> (Option<Id>, EmbeddingData<FileUri>) {
    let wanted = EmbeddingData {
        path: query.uri,
        source: query.source.map(engine::Source::from),
        range: query.range.map(|range| convert::text_range(range, session.encoding)),
        expected: convert::guard(query.expected, session.namespace),
        expected_text: query.expected_text,
        node_tracking_hash: query.node_tracking_hash,
        want_tracking: query.hashes.contains(&HashKind::Tracking),
    };
    (query.id, wanted)
}

/// What is found of a snippet, with what the answer repeats of the question.
fn answer<'a>(id: Option<&'a Id>, uri: &'a FileUri, found: Result<SnippetRef<'a>, IoError>) -> SnippetResult<'a> {
    match found {
        Ok(snippet) => SnippetResult::Ok(SnippetText {
            id,
            uri,
            byte_range: (&snippet.byte_range).into(),
            text: snippet.text,
            content_hash: snippet.content_hash,
            tracking_hash: snippet.tracking_hash,
            source: snippet.source.into(),
            version: snippet.version,
        }),
        Err(error) => SnippetResult::Error(SnippetError { id, uri, error: (&error).into() }),
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

    #[test]
    fn an_answer_repeats_id_and_uri() {
        let (id, uri) = (Id::Number(1), "file:///r/1".parse().unwrap());
        let answer = |found| serde_json::to_value(answer(Some(&id), &uri, found)).unwrap();
        let snippet = SnippetRef {
            text: "fn a",
            byte_range: 2..6,
            content_hash: ContentHash::of(b"whole"),
            tracking_hash: None,
            source: engine::Source::Disk,
            version: None,
        };
        assert_eq!(
            answer(Ok(snippet)),
            json!({
                "status": "ok",
                "id": 1,
                "uri": "file:///r/1",
                "text": "fn a",
                "byteRange": { "startByte": 2, "endByte": 6 },
                "contentHash": ContentHash::of(b"whole"),
                "source": "disk",
            })
        );
        assert_eq!(
            answer(Err(IoError::new("1", IoErrorKind::NotFound))),
            json!({
                "status": "error",
                "id": 1,
                "uri": "file:///r/1",
                "error": { "kind": "notFound", "severity": "fatal", "message": "1: no such file or directory" },
            })
        );
    }
}
