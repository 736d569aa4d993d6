use serde_json::json;

use super::*;

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
