//! `ploke/snippets`.

use super::{
    convert,
    errors::refuse_cancelled,
    method::{Call, Method, Reply, RpcError},
    session::Session,
};
use crate::{
    engine::{EmbeddingData, Snippet},
    error::{IoError, IoErrorKind},
    protocol::{
        FileUri, ItemError, snippets,
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
        let outcomes = session.manager.snippets(&wanted, &call.cancel)?;
        refuse_cancelled(&outcomes)?;
        Ok(answer(asked, outcomes, session.max_message_bytes).into())
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

/// Puts as many texts into the answer as have room in a message of `max_bytes`.
fn answer(asked: Vec<Asked>, outcomes: Vec<Result<Snippet, IoError>>, max_bytes: u64) -> SnippetsResult {
    let mut room = max_bytes;
    let snippets = asked
        .into_iter()
        .zip(outcomes)
        .map(|(Asked { id, uri }, outcome)| match outcome {
            Ok(snippet) => match room.checked_sub(snippet.text.len() as u64) {
                Some(rest) => {
                    room = rest;
                    SnippetResult::Ok(text(id, uri, snippet))
                }
                None => SnippetResult::Error(SnippetError { id, uri, error: no_room(&snippet, max_bytes) }),
            },
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

fn no_room(snippet: &Snippet, limit: u64) -> ItemError {
    let kind = IoErrorKind::TooLarge { bytes: snippet.text.len() as u64, limit };
    ItemError {
        message: "the snippets of one answer are larger than a message may be; ask in several requests".into(),
        ..ItemError::from(&IoError::new("", kind))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hash::ContentHash;

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
            serde_json::to_value(answer(vec![asked(1), asked(2)], outcomes, 100)).unwrap(),
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

    #[test]
    fn texts_that_have_no_room_in_one_message_are_asked_for_again() {
        let outcomes = vec![Ok(snippet("12345")), Ok(snippet("123456")), Ok(snippet("12345"))];
        let answer = answer(vec![asked(1), asked(2), asked(3)], outcomes, 10);
        assert!(matches!(&answer.snippets[..], [SnippetResult::Ok(_), SnippetResult::Error(_), SnippetResult::Ok(_)]));
        let error = serde_json::to_value(&answer.snippets[1]).unwrap()["error"].clone();
        assert_eq!(error["kind"], "tooLarge");
        assert_eq!((&error["bytes"], &error["limit"]), (&json!(6), &json!(10)));
        assert!(error["message"].as_str().unwrap().contains("ask in several requests"));
    }
}
