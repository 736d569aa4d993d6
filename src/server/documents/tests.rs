use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::*;

const URI: &str = "file:///r/a.txt";

fn documents(encoding: PositionEncoding) -> Documents {
    Documents::new(encoding)
}

fn open(documents: &mut Documents, version: i32, text: &str) {
    let document = json!({ "uri": URI, "languageId": "x", "version": version, "text": text });
    tell(documents, "didOpen", json!({ "textDocument": document }));
}

fn change(documents: &mut Documents, version: impl Into<Value>, changes: Value) {
    let document = json!({ "uri": URI, "version": version.into() });
    tell(documents, "didChange", json!({ "textDocument": document, "contentChanges": changes }));
}

fn tell(documents: &mut Documents, method: &str, params: Value) {
    documents.notified(&format!("textDocument/{method}"), &params.to_string());
}

/// Version and text of the document, if it is open.
fn state(documents: &Documents) -> Option<(i32, Option<&str>)> {
    documents.get(Path::new("/r/a.txt")).map(|document| (document.version(), document.text()))
}

fn range(start: (u32, u32), end: (u32, u32)) -> Value {
    let at = |(line, character): (u32, u32)| json!({ "line": line, "character": character });
    json!({ "start": at(start), "end": at(end) })
}

#[test]
fn a_document_is_followed_from_its_opening_to_its_closing() {
    let mut documents = documents(PositionEncoding::Utf16);
    open(&mut documents, 1, "one\ntwo\n");
    assert_eq!(state(&documents), Some((1, Some("one\ntwo\n"))));
    // Each change of a notification speaks of the text that those before it have made.
    change(
        &mut documents,
        5,
        json!([{ "range": range((0, 3), (1, 0)), "text": "" }, { "range": range((0, 5), (0, 99)), "text": "🦀" }]),
    );
    assert_eq!(state(&documents), Some((5, Some("onetw🦀\n"))));
    change(&mut documents, 6, json!([]));
    assert_eq!(state(&documents), Some((6, Some("onetw🦀\n"))));
    change(&mut documents, 7, json!([{ "text": "all" }, { "range": range((0, 0), (0, 0)), "text": "new " }]));
    tell(&mut documents, "didSave", json!({ "textDocument": { "uri": URI } }));
    assert_eq!(state(&documents), Some((7, Some("new all"))));
    tell(&mut documents, "didClose", json!({ "textDocument": { "uri": URI } }));
    assert_eq!(state(&documents), None);
    assert!(documents.open().is_empty() && documents.uris.is_empty());
}

#[test]
fn a_change_that_can_not_be_followed_leaves_the_text_unknown() {
    let whole = json!([{ "text": "x" }]);
    for (version, changes) in [
        (json!(2), json!([{ "range": range((1, 0), (1, 0)), "text": "" }])),
        (json!(2), json!([{ "range": range((0, 2), (0, 1)), "text": "" }])),
        (json!(2), json!([{ "range": range((0, 4), (0, 4)), "text": "" }])),
        (
            json!(2),
            json!([{ "range": range((0, 0), (0, 1)), "text": "" }, { "range": range((9, 0), (9, 0)), "text": "" }]),
        ),
        (json!(1), whole.clone()),
        (json!(0), whole.clone()),
        (json!(null), whole.clone()),
        (json!("2"), whole.clone()),
        (json!(2), json!([{ "range": range((0, 0), (0, 0)) }])),
        (json!(2), json!("all")),
    ] {
        let mut documents = documents(PositionEncoding::Utf16);
        open(&mut documents, 1, "abc🦀d");
        change(&mut documents, version.clone(), changes.clone());
        let (last, text) = state(&documents).unwrap();
        assert_eq!(text, None, "{version} {changes}");
        // It stays unknown until all of it is given.
        change(&mut documents, last + 1, json!([{ "range": range((0, 0), (0, 0)), "text": "y" }]));
        assert_eq!(state(&documents), Some((last + 1, None)));
        change(&mut documents, last + 2, json!([{ "text": "known" }]));
        assert_eq!(state(&documents), Some((last + 2, Some("known"))));
    }
}

#[test]
fn a_change_of_what_is_not_open_makes_it_unknown() {
    let mut documents = documents(PositionEncoding::Utf8);
    change(&mut documents, 3, json!([{ "range": range((0, 0), (0, 0)), "text": "y" }]));
    assert_eq!(state(&documents), Some((3, None)));
    tell(&mut documents, "didClose", json!({ "textDocument": { "uri": URI } }));
    assert_eq!(state(&documents), None);
}

#[test]
fn opening_again_and_saving_give_the_text_anew() {
    let mut documents = documents(PositionEncoding::Utf8);
    open(&mut documents, 1, "one");
    open(&mut documents, 1, "two");
    assert_eq!(state(&documents), Some((1, Some("two"))));
    change(&mut documents, 2, json!([{ "range": range((7, 0), (7, 0)), "text": "" }]));
    assert_eq!(state(&documents), Some((2, None)));
    tell(&mut documents, "didSave", json!({ "textDocument": { "uri": URI }, "text": "saved" }));
    assert_eq!(state(&documents), Some((2, Some("saved"))));
}

#[test]
fn what_is_no_file_or_no_document_is_ignored() {
    let mut documents = documents(PositionEncoding::Utf8);
    for (method, params) in [
        ("textDocument/didOpen", json!({ "textDocument": { "uri": "untitled:1", "version": 1, "text": "" } })),
        ("textDocument/didOpen", json!({ "text": "" })),
        ("textDocument/didOpen", json!(null)),
        ("textDocument/didClose", json!({ "textDocument": { "uri": URI } })),
        ("textDocument/didSave", json!({ "textDocument": { "uri": URI }, "text": "x" })),
        ("textDocument/willSave", json!({ "textDocument": { "uri": URI }, "reason": 1 })),
    ] {
        documents.notified(method, &params.to_string());
        assert!(documents.open().is_empty(), "{method} {params}");
    }
}

#[test]
fn a_request_keeps_the_documents_it_came_with() {
    let mut documents = documents(PositionEncoding::Utf8);
    open(&mut documents, 1, "one");
    let before = documents.open().clone();
    change(&mut documents, 2, json!([{ "range": range((0, 0), (0, 3)), "text": "two" }]));
    assert_eq!(before[Path::new("/r/a.txt")].text(), Some("one"));
    assert_eq!(state(&documents), Some((2, Some("two"))));
}

/// What a client is that knows its text as characters and finds positions by walking there.
struct NaiveClient {
    text: Vec<char>,
    encoding: PositionEncoding,
}

impl NaiveClient {
    fn position(&self, index: usize) -> (u32, u32) {
        let (mut line, mut character) = (0, 0);
        for (at, this) in self.text[..index].iter().enumerate() {
            let ends_line = match this {
                '\n' => true,
                '\r' => self.text.get(at + 1) != Some(&'\n'),
                _ => false,
            };
            let units = match self.encoding {
                PositionEncoding::Utf8 => this.len_utf8(),
                PositionEncoding::Utf16 => this.len_utf16(),
                PositionEncoding::Utf32 => 1,
            };
            (line, character) = if ends_line { (line + 1, 0) } else { (line, character + units as u32) };
        }
        (line, character)
    }

    /// A place that has a position: none lies between CR and LF.
    fn place(&self, index: Index) -> usize {
        let place = index.index(self.text.len() + 1);
        let cuts = place > 0 && self.text[place - 1] == '\r' && self.text.get(place) == Some(&'\n');
        if cuts { place + 1 } else { place }
    }

    fn change(&mut self, (one, other, new): (Index, Index, String), whole: bool) -> Value {
        let (one, other) = (self.place(one), self.place(other));
        let (start, end) = (one.min(other), one.max(other));
        let told = range(self.position(start), self.position(end));
        self.text.splice(start..end, new.chars());
        if whole {
            return json!({ "text": self.text.iter().collect::<String>() });
        }
        json!({ "range": told, "text": new })
    }
}

fn text() -> impl Strategy<Value = String> {
    "(a|ä|€|🦀|\u{feff}|\n|\r|\r\n|\u{2028}){0,12}"
}

proptest! {
    #[test]
    fn the_text_is_the_clients_after_any_changes_in_any_encoding(
        encoding in prop::sample::select(vec![
            PositionEncoding::Utf8,
            PositionEncoding::Utf16,
            PositionEncoding::Utf32,
        ]),
        first in text(),
        notifications in prop::collection::vec(
            prop::collection::vec(((any::<Index>(), any::<Index>(), text()), prop::bool::weighted(0.1)), 0..4),
            0..8,
        ),
    ) {
        let mut documents = documents(encoding);
        let mut client = NaiveClient { text: first.chars().collect(), encoding };
        open(&mut documents, 0, &first);
        for (version, changes) in (1..).zip(notifications) {
            let changes: Vec<Value> = changes.into_iter().map(|(edit, whole)| client.change(edit, whole)).collect();
            change(&mut documents, version, json!(changes));
            let expected: String = client.text.iter().collect();
            prop_assert_eq!(state(&documents), Some((version, Some(expected.as_str()))));
        }
    }
}
