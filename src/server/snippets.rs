//! `ploke/snippets`.

use super::{
    convert,
    errors::refuse_cancelled,
    method::{Call, Method, Reply, RpcError},
    session::Session,
};
use crate::{
    engine::{EmbeddingData, Snippet},
    error::IoError,
    protocol::{
        FileUri, snippets,
        snippets::{SnippetError, SnippetQuery, SnippetResult, SnippetText, SnippetsParams, SnippetsResult},
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
        let outcomes = session.manager.snippets_within(session.max_message_bytes, &wanted, &call.cancel)?;
        refuse_cancelled(&outcomes)?;
        Ok(answer(asked, outcomes).into())
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
        }
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
