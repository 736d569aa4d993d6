//! Clients that are asked to change a document and answer late, never, or leave.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{Setup, in_flight::Limits, test_client::TestClient};
use crate::server::{EditorPatience, ServerOptions};

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// An editor with the unsaved documents `a` and `b` ("one") beside the files `a`, `b` and `c` ("disk").
struct TestEditor {
    client: TestClient,
    root: tempfile::TempDir,
}

impl TestEditor {
    fn start(answer: Duration, change: Duration) -> Self {
        Self::with(Setup { editor_patience: EditorPatience { answer, change }, ..Setup::default() })
    }

    fn with(setup: Setup) -> Self {
        let root = tempfile::tempdir().unwrap();
        ["a", "b", "c"].iter().for_each(|name| fs::write(root.path().join(name), "disk").unwrap());
        let mut client = TestClient::start(setup, ServerOptions::default());
        let uri = format!("file://{}", root.path().display());
        let capabilities = json!({ "workspace": { "applyEdit": true } });
        let options = json!({ "watch": { "enabled": false } });
        client.request(
            json!("init"),
            "initialize",
            json!({ "capabilities": capabilities, "rootUri": uri, "initializationOptions": options }),
        );
        client.result("init");
        client.notify("initialized", json!({}));
        let mut editor = Self { client, root };
        for name in ["a", "b"] {
            let document = json!({ "uri": editor.uri(name), "languageId": "x", "version": 1, "text": "one" });
            editor.client.notify("textDocument/didOpen", json!({ "textDocument": document }));
        }
        editor
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}", self.root.path().join(name).display())
    }

    fn on_disk(&self, name: &str) -> String {
        fs::read_to_string(self.root.path().join(name)).unwrap()
    }

    fn edit(&self, name: &str) -> Value {
        let old = if name == "c" { "disk" } else { "one" };
        json!({ "textDocument": { "uri": self.uri(name) }, "edits": [{ "expectedText": old, "newText": "new" }] })
    }

    /// Asks for an edit of these files.
    fn apply(&mut self, id: i64, names: &[&str]) {
        let changes: Vec<_> = names.iter().map(|name| self.edit(name)).collect();
        self.client.request(json!(id), "ploke/applyEdits", json!({ "documentChanges": changes }));
    }

    /// The id of the next message, which must be a request to edit this document.
    fn asked(&mut self, name: &str) -> Value {
        let message = self.client.receive();
        assert_eq!(message["method"], "workspace/applyEdit", "{message}");
        assert_eq!(message["params"]["edit"]["documentChanges"][0]["textDocument"]["uri"], self.uri(name));
        message["id"].clone()
    }

    fn answer(&mut self, id: &Value, result: Value) {
        self.client.send(json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    }

    fn change(&mut self, name: &str, version: i32, text: &str) {
        let document = json!({ "uri": self.uri(name), "version": version });
        let changes = json!([{ "text": text }]);
        self.client.notify("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    }

    /// What is read of a file by default.
    fn read(&mut self, name: &str) -> Value {
        let snippets = json!({ "snippets": [{ "uri": self.uri(name) }] });
        self.client.request(json!("read"), "ploke/snippets", snippets);
        self.client.result("read")["snippets"][0]["text"].clone()
    }
}

fn kinds(result: &Value) -> Vec<&str> {
    let files = result["files"].as_array().unwrap().iter();
    files.map(|file| file["error"]["kind"].as_str().or(file["status"].as_str()).unwrap()).collect()
}

#[test]
fn a_client_that_does_not_answer_in_time_is_told_so_and_nothing_is_written() {
    let mut editor = TestEditor::start(Duration::ZERO, FOR_EVER);
    editor.apply(1, &["a", "c"]);
    let late = editor.asked("a");
    let result = editor.client.result(1);
    assert_eq!((&result["applied"], &result["failedChange"]), (&json!(false), &json!(0)));
    assert_eq!(kinds(&result), ["editorUnknown", "notApplied"]);
    assert!(result["failureReason"].as_str().unwrap().starts_with("a: it is not known"), "{result}");
    assert_eq!(editor.on_disk("c"), "disk");
    // The answer that comes at last is nobody's, and harmless.
    editor.answer(&late, json!({ "applied": true }));
    editor.change("a", 2, "new");
    assert_eq!(editor.read("a"), "new");
}

#[test]
fn a_client_that_says_so_but_does_not_show_it_is_believed_with_a_warning() {
    let mut editor = TestEditor::start(FOR_EVER, Duration::ZERO);
    editor.apply(1, &["a", "c"]);
    let id = editor.asked("a");
    assert!(id.as_str().unwrap().starts_with("ploke-io/"), "an id that no request of tower-lsp has: {id}");
    editor.answer(&id, json!({ "applied": true }));
    assert_eq!(editor.client.receive()["method"], "ploke/fileChanged");
    let result = editor.client.result(1);
    assert_eq!(kinds(&result), ["applied", "applied"]);
    assert_eq!(result["files"][0]["warnings"][0]["kind"], "notConfirmed");
    assert_eq!((editor.on_disk("a").as_str(), editor.on_disk("c").as_str()), ("disk", "new"));
}

#[test]
fn what_was_not_shown_is_taken_back_from_the_version_it_was_made_of() {
    let mut editor = TestEditor::start(FOR_EVER, Duration::ZERO);
    editor.apply(1, &["a", "c"]);
    let id = editor.asked("a");
    fs::write(editor.root.path().join("c"), "from outside").unwrap();
    editor.answer(&id, json!({ "applied": true }));
    let message = editor.client.receive();
    let change = &message["params"]["edit"]["documentChanges"][0];
    assert_eq!((&change["textDocument"]["version"], &change["edits"][0]["newText"]), (&json!(1), &json!("one")));
    editor.answer(&message["id"], json!({ "applied": true }));
    assert_eq!(kinds(&editor.client.result(1)), ["notApplied", "contentMismatch"]);
    assert_eq!(editor.on_disk("c"), "from outside");
}

#[test]
fn what_a_client_has_shown_counts_whatever_it_says() {
    let mut editor = TestEditor::start(FOR_EVER, FOR_EVER);
    editor.apply(1, &["a"]);
    let id = editor.asked("a");
    editor.change("a", 2, "new");
    editor.answer(&id, json!(null));
    assert_eq!(kinds(&editor.client.result(1)), ["applied"]);
}

#[test]
fn other_requests_go_on_while_a_client_is_waited_for() {
    let mut editor = TestEditor::start(FOR_EVER, FOR_EVER);
    editor.apply(1, &["a"]);
    let id = editor.asked("a");
    for _ in 0..20 {
        assert_eq!(editor.read("a"), "one");
    }
    editor.apply(2, &["c"]);
    assert_eq!(editor.client.receive()["method"], "ploke/fileChanged");
    assert_eq!(kinds(&editor.client.result(2)), ["applied"]);
    editor.change("a", 2, "new");
    editor.answer(&id, json!({ "applied": true }));
    assert_eq!(kinds(&editor.client.result(1)), ["applied"]);
}

#[test]
fn answers_arrive_also_when_all_that_may_run_waits_for_them() {
    let limits = Limits { running: 2, short: 1, ..Setup::default().limits };
    let editor_patience = EditorPatience { answer: FOR_EVER, change: FOR_EVER };
    let mut editor = TestEditor::with(Setup { limits, editor_patience, ..Setup::default() });
    editor.apply(1, &["a"]);
    let a = editor.asked("a");
    editor.apply(2, &["b"]);
    let b = editor.asked("b");
    let snippets = json!({ "snippets": [{ "uri": editor.uri("c") }] });
    editor.client.request(json!(3), "ploke/snippets", snippets);
    editor.change("b", 2, "new");
    editor.answer(&b, json!({ "applied": true }));
    assert_eq!(kinds(&editor.client.result(2)), ["applied"]);
    assert_eq!(editor.client.result(3)["snippets"][0]["text"], "disk");
    editor.answer(&a, json!({ "applied": false, "failureReason": "no" }));
    assert_eq!(kinds(&editor.client.result(1)), ["editorRefused"]);
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_the_files_as_they_were() {
    let mut editor = TestEditor::start(FOR_EVER, FOR_EVER);
    editor.apply(1, &["a", "c"]);
    editor.asked("a");
    editor.client.end_input();
    let result = editor.client.result(1);
    assert_eq!(kinds(&result), ["editorUnknown", "notApplied"]);
    assert!(result["failureReason"].as_str().unwrap().ends_with("the client has left before it answered"), "{result}");
    assert_eq!(editor.client.exit_code(), 1);
    assert_eq!(editor.on_disk("c"), "disk");
}

#[test]
fn what_comes_after_the_end_of_input_is_not_asked() {
    let limits = Limits { running: 1, short: 1, ..Setup::default().limits };
    let editor_patience = EditorPatience { answer: FOR_EVER, change: FOR_EVER };
    let mut editor = TestEditor::with(Setup { limits, editor_patience, ..Setup::default() });
    editor.apply(1, &["a"]);
    editor.asked("a");
    editor.apply(2, &["b"]);
    editor.client.end_input();
    assert_eq!(kinds(&editor.client.result(1)), ["editorUnknown"]);
    assert_eq!(kinds(&editor.client.result(2)), ["editorRefused"]);
}

#[test]
fn exit_does_not_wait_for_the_client() {
    let mut editor = TestEditor::start(FOR_EVER, FOR_EVER);
    editor.apply(1, &["a", "c"]);
    editor.asked("a");
    editor.client.notify("exit", Value::Null);
    assert_eq!(editor.client.exit_code(), 1);
    assert_eq!(editor.on_disk("c"), "disk");
}

#[test]
fn an_edit_that_the_client_was_asked_for_is_not_cancelled_any_more() {
    let mut editor = TestEditor::start(FOR_EVER, FOR_EVER);
    editor.apply(1, &["a"]);
    let id = editor.asked("a");
    editor.client.cancel(json!(1));
    editor.change("a", 2, "new");
    editor.answer(&id, json!({ "applied": true }));
    assert_eq!(kinds(&editor.client.result(1)), ["applied"]);
}

#[test]
fn shutdown_waits_for_the_client_to_answer() {
    let mut editor = TestEditor::start(FOR_EVER, FOR_EVER);
    editor.apply(1, &["a"]);
    let id = editor.asked("a");
    editor.client.request(json!(2), "shutdown", Value::Null);
    editor.change("a", 2, "new");
    editor.answer(&id, json!({ "applied": true }));
    assert_eq!(kinds(&editor.client.result(1)), ["applied"]);
    assert_eq!(editor.client.result(2), Value::Null);
}

#[test]
fn answers_to_nothing_are_ignored() {
    let mut editor = TestEditor::start(FOR_EVER, FOR_EVER);
    for id in [json!("ploke-io/7"), json!("ploke-io/"), json!("ploke-io/x"), json!("other"), json!(1), json!(null)] {
        editor.answer(&id, json!({ "applied": true }));
        editor.client.send(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": 1, "message": "no" } }));
    }
    assert_eq!(editor.read("a"), "one");
}

#[test]
fn a_request_sees_the_changes_that_came_before_it_and_no_later_ones() {
    let limits = Limits { running: 1, short: 1, ..Setup::default().limits };
    let editor_patience = EditorPatience { answer: FOR_EVER, change: FOR_EVER };
    let mut editor = TestEditor::with(Setup { limits, editor_patience, ..Setup::default() });
    // Nothing else is carried out before this one is answered.
    editor.apply(1, &["a"]);
    let id = editor.asked("a");
    for version in 2..6 {
        editor.change("b", version, &version.to_string());
        let snippets = json!({ "snippets": [{ "uri": editor.uri("b") }] });
        editor.client.request(json!(100 + version), "ploke/snippets", snippets);
    }
    editor.answer(&id, json!({ "applied": false }));
    assert_eq!(kinds(&editor.client.result(1)), ["editorRefused"]);
    for version in 2..6 {
        let snippet = editor.client.result(100 + version)["snippets"][0].clone();
        assert_eq!((&snippet["text"], &snippet["version"]), (&json!(version.to_string()), &json!(version)));
    }
}
