use proptest::{prelude::*, sample::Index};
use serde_json::json;

use super::*;
use crate::{engine::OpenDocument, splice::Splice};

fn answer(response: Value) -> Result<(), String> {
    match Answer::of(response.get("result").cloned(), response.get("error").cloned()) {
        Answer::Applied => Ok(()),
        Answer::Refused(reason) => Err(reason),
    }
}

#[test]
fn only_a_clear_yes_is_one() {
    assert_eq!(answer(json!({ "result": { "applied": true, "failureReason": "" } })), Ok(()));
    for (response, reason) in [
        (json!({ "result": { "applied": false, "failureReason": "why" } }), "why"),
        (json!({ "result": { "applied": false } }), "it gave no reason"),
        (json!({ "result": { "applied": "true" } }), "it gave no reason"),
        (json!({ "result": null }), "it gave no reason"),
        (json!({}), "it gave no reason"),
        (json!({ "result": { "applied": true }, "error": { "message": "both" } }), "both"),
        (json!({ "error": 1 }), "it answered with an error"),
    ] {
        assert_eq!(answer(response.clone()), Err(reason.to_owned()), "{response}");
    }
    let long = answer(json!({ "error": { "message": "é".repeat(1_000_000) } })).unwrap_err();
    assert_eq!(long.chars().count(), MAX_REASON);
}

#[test]
fn line_endings_do_not_make_another_text() {
    assert!(is_same_text("a\r\nb\n", "a\nb\r\n"));
    assert!(!is_same_text("a\nb", "a\nb\n"));
    assert!(!is_same_text("a\rb", "a\nb"));
}

#[test]
fn no_range_cuts_a_line_ending() {
    let text = "a\r\nb";
    for (range, told, new_text) in [(0..1, 0..1, "x"), (2..2, 1..3, "\rx\n"), (2..4, 1..4, "\rx"), (0..2, 0..3, "x\n")]
    {
        assert_eq!(between_characters(text, range, "x"), (told, new_text.to_owned()));
    }
}

#[test]
fn an_edit_of_a_version_that_is_no_more_is_not_asked_for() {
    let capabilities = serde_json::from_value(json!({ "workspace": { "applyEdit": true } })).unwrap();
    let editor = ClientEditor::new(PositionEncoding::Utf8, &capabilities);
    let outbox = Arc::new(Outbox::new(1000));
    editor.connection.set((outbox.clone(), EditorPatience::default())).ok().unwrap();
    let document = json!({ "uri": "file:///r/a", "version": 2, "text": "one" });
    editor.notified("textDocument/didOpen", &json!({ "textDocument": document }).to_string());
    let edit = |version| BufferEdit {
        path: "/r/a".into(),
        version,
        old_text: "one".into(),
        edits: vec![(0..3, "1".into())],
        new_text: "1".into(),
    };
    assert!(matches!(editor.apply(&edit(1)), Err(EditorError::Refused(_))));
    let closed = json!({ "textDocument": { "uri": "file:///r/a" } }).to_string();
    editor.notified("textDocument/didClose", &closed);
    assert!(matches!(editor.apply(&edit(2)), Err(EditorError::Refused(_))));
    assert_eq!(editor.lock().last_asked, 0);
    assert!(editor.lock().asked.is_empty());
}

/// Edits of a text that do not overlap, with the new text and where each stands in both.
fn edited() -> impl Strategy<Value = BufferEdit> {
    let text = || "(a|ä|🦀|\u{feff}|\n|\r|\r\n){0,10}";
    let edits = prop::collection::vec((any::<Index>(), any::<Index>(), text()), 1..5);
    (text(), edits, any::<bool>()).prop_filter_map("they overlap", |(old, edits, known)| {
        let boundaries: Vec<usize> = (0..=old.len()).filter(|at| old.is_char_boundary(*at)).collect();
        let place = |index: Index| boundaries[index.index(boundaries.len())];
        let edits = edits.into_iter().map(|(one, other, new)| {
            let (one, other) = (place(one), place(other));
            (one.min(other)..one.max(other), new)
        });
        let splice = Splice::new(&old, edits.collect()).ok()?;
        let ranges = if known { splice.ranges() } else { Vec::new() };
        Some(BufferEdit::new(Path::new("/r/a"), &OpenDocument::new(1, old.clone()), splice.apply(), &ranges))
    })
}

proptest! {
    #[test]
    fn a_client_that_does_what_it_is_asked_gets_the_text(
        edit in edited(),
        encoding in prop::sample::select(vec![
            PositionEncoding::Utf8,
            PositionEncoding::Utf16,
            PositionEncoding::Utf32,
        ]),
    ) {
        let uri: FileUri = "file:///r/a".parse().unwrap();
        let params = params(&uri, &edit, encoding).unwrap();
        let mut changes = params["edit"]["documentChanges"][0]["edits"].as_array().unwrap().clone();
        // All speak of the same text, so that the last is made first.
        changes.reverse();
        changes.iter_mut().for_each(|change| change["text"] = change["newText"].take());
        let mut client = Documents::new(encoding);
        let opened = json!({ "uri": "file:///r/a", "version": 1, "text": edit.old_text });
        client.notified("textDocument/didOpen", &json!({ "textDocument": opened }).to_string());
        let changed = json!({ "textDocument": { "uri": "file:///r/a", "version": 2 }, "contentChanges": changes });
        client.notified("textDocument/didChange", &changed.to_string());
        prop_assert_eq!(client.get(Path::new("/r/a")).unwrap().text(), Some(edit.new_text.as_str()));
    }
}
