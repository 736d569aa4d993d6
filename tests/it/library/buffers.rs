//! Edits of files that are open in an editor, which stands here as a program of what it does.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use ploke_io::{
    CancelToken,
    engine::{
        Atomicity, BufferEdit, Change, EditOutcome, EditRequest, EditedBuffer, Editor, EditorError, FileStatus, Guard,
        OpenDocument, OpenDocuments, TextChange, WriteSnippetData,
    },
    error::Warning,
    hash::ContentHash,
};

use super::{Fixture, edit, error_of, guard, request};

type Answer = Result<Option<String>, EditorError>;

/// An editor that answers as it is told, and does to its documents what its answer says.
#[derive(Default)]
struct Scripted {
    documents: Mutex<Arc<OpenDocuments>>,
    /// For each edit, the text it leads to, or that it is made as asked, or an error.
    answers: Mutex<Vec<Answer>>,
    asked: Mutex<Vec<BufferEdit>>,
    /// What happens after so many looks at the documents.
    typed: Mutex<Option<(usize, PathBuf, &'static str)>>,
}

impl Scripted {
    fn with(documents: &[(&Path, &str)], answers: impl IntoIterator<Item = Answer>) -> Self {
        let editor = Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() };
        documents.iter().for_each(|(path, text)| editor.put(path, 1, text));
        editor
    }

    fn put(&self, path: &Path, version: i32, text: &str) {
        let mut documents = self.documents.lock().unwrap();
        let document = OpenDocument::new(version, text.to_owned());
        Arc::make_mut(&mut documents).insert(path.to_owned(), Arc::new(document));
    }

    fn text(&self, path: &Path) -> String {
        self.documents.lock().unwrap()[path].text().unwrap().to_owned()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Editor for Scripted {
    fn documents(&self) -> Arc<OpenDocuments> {
        let mut typed = self.typed.lock().unwrap();
        match typed.take() {
            Some((0, path, text)) => self.put(&path, 2, text),
            Some((looks, path, text)) => *typed = Some((looks - 1, path, text)),
            None => {}
        }
        self.documents.lock().unwrap().clone()
    }

    fn apply(&self, edit: &BufferEdit) -> Result<EditedBuffer, EditorError> {
        let mut made = edit.old_text.clone();
        for (range, new) in edit.edits.iter().rev() {
            made.replace_range(range.clone(), new);
        }
        assert_eq!(made, edit.new_text, "the edits lead to the text");
        assert_eq!(self.text(&edit.path), edit.old_text);
        self.asked.lock().unwrap().push(edit.clone());
        let text = self.answers.lock().unwrap().remove(0)?.unwrap_or(made);
        self.put(&edit.path, edit.version + 1, &text);
        Ok(EditedBuffer { shown: Some((ContentHash::of(text.as_bytes()), text.len() as u64)) })
    }
}

fn apply(fixture: &Fixture, editor: &Scripted, changes: Vec<Change>, atomicity: Atomicity) -> EditOutcome {
    let request = EditRequest { atomicity, ..request(changes) };
    fixture.manager.apply_with(&request, editor, &CancelToken::new()).unwrap()
}

fn replace(path: &Path, old: &str, new: &str) -> Change {
    let edits = vec![TextChange { range: None, new_text: new.into(), expected_text: Some(old.into()) }];
    Change::Edit(WriteSnippetData { path: path.to_owned(), expected: Guard::default(), edits })
}

fn statuses(outcome: &EditOutcome) -> Vec<(FileStatus, bool)> {
    outcome.files.iter().map(|file| (file.status, file.in_buffer)).collect()
}

#[test]
fn what_is_typed_until_the_last_moment_is_not_written_over() {
    // The documents are looked at when the edit is planned, and again when its new content is ready.
    let fixture = Fixture::new();
    let path = fixture.write("a", "one");
    let editor = Scripted::with(&[(&path, "one")], []);
    *editor.typed.lock().unwrap() = Some((1, path.clone(), "typed"));
    let outcome = apply(&fixture, &editor, vec![edit(&path, guard("one"), [((0, 3), "1")])], Atomicity::Transaction);
    assert!(error_of(&outcome).starts_with("DocumentDirty"), "{}", error_of(&outcome));
    assert_eq!((fixture.read("a").as_str(), fixture.names()), ("one", vec!["a".to_owned()]));
}

#[test]
fn a_rename_looks_at_both_of_its_places_until_the_last_moment() {
    for typed_in in ["a", "b"] {
        let fixture = Fixture::new();
        let (from, to) = (fixture.write("a", "one"), fixture.path("b"));
        let editor = Scripted::with(&[], []);
        *editor.typed.lock().unwrap() = Some((1, fixture.path(typed_in), "typed"));
        let rename = Change::Rename {
            old_path: from,
            new_path: to,
            overwrite: false,
            ignore_if_exists: false,
            expected: guard("one"),
            expected_overwritten: Guard::default(),
        };
        let outcome = apply(&fixture, &editor, vec![rename], Atomicity::Transaction);
        assert!(error_of(&outcome).starts_with("DocumentDirty"), "{typed_in}: {}", error_of(&outcome));
        assert_eq!(fixture.names(), ["a"]);
    }
}

#[cfg(unix)]
#[test]
fn a_document_of_another_name_of_the_file_counts() {
    let fixture = Fixture::new();
    let path = fixture.write("a", "one");
    let hard_link = fixture.path("b");
    std::fs::hard_link(&path, &hard_link).unwrap();
    let editor = Scripted::with(&[(&hard_link, "typed")], []);
    let changes = vec![edit(&path, guard("one"), [((0, 3), "1")])];
    let outcome = apply(&fixture, &editor, changes, Atomicity::Transaction);
    assert!(error_of(&outcome).starts_with("DocumentDirty"), "{}", error_of(&outcome));
    assert_eq!(fixture.read("a"), "one");
}

#[cfg(unix)]
#[test]
fn a_document_outside_of_the_roots_that_is_a_link_to_a_file_inside_counts() {
    let fixture = Fixture::new();
    let path = fixture.write("a", "one");
    let link = fixture.dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let editor = Scripted::with(&[(&link, "typed")], []);
    let changes = vec![edit(&path, guard("one"), [((0, 3), "1")])];
    let outcome = apply(&fixture, &editor, changes, Atomicity::Transaction);
    assert!(error_of(&outcome).starts_with("DocumentDirty"), "{}", error_of(&outcome));
}

#[cfg(unix)]
#[test]
fn one_file_that_is_open_twice_is_edited_only_if_both_are_saved() {
    let fixture = Fixture::new();
    let path = fixture.write("a", "one");
    let twice = fixture.path("link");
    std::os::unix::fs::symlink("a", &twice).unwrap();
    for (text, new, expected) in [("typed", "1", "DocumentDirty"), ("one", "1", "no error")] {
        let editor = Scripted::with(&[(&path, "one"), (&twice, text)], []);
        let changes = vec![edit(&path, guard("one"), [((0, 3), new)])];
        let outcome = apply(&fixture, &editor, changes, Atomicity::Transaction);
        assert!(error_of(&outcome).starts_with(expected), "{text}: {}", error_of(&outcome));
    }
    assert_eq!(fixture.read("a"), "1");
}

#[test]
fn line_endings_of_the_editor_are_told_as_they_are() {
    let fixture = Fixture::new();
    let path = fixture.write("a", "one\r\n");
    let editor = Scripted::with(&[(&path, "two\r\n")], [Ok(Some("2\r\n3\r\n".into()))]);
    let outcome = apply(&fixture, &editor, vec![replace(&path, "two", "2\n3")], Atomicity::Transaction);
    let file = &outcome.files[0];
    assert_eq!((file.status, file.in_buffer), (FileStatus::Applied, true));
    assert_eq!(file.new_content_hash, Some(ContentHash::of(b"2\r\n3\r\n")));
    assert_eq!((file.byte_delta, &file.edits[..]), (1, &[][..]));
    assert_eq!(fixture.read("a"), "one\r\n");
}

#[test]
fn a_transaction_takes_back_what_it_did_in_documents_in_reverse() {
    let fixture = Fixture::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| fixture.write(name, "disk"));
    let no = Err(EditorError::Refused("no".into()));
    let editor =
        Scripted::with(&[(&a, "ä one"), (&b, "two"), (&c, "three")], [Ok(None), Ok(None), no, Ok(None), Ok(None)]);
    let changes = vec![replace(&a, "one", "1"), replace(&b, "two", "2"), replace(&c, "three", "3")];
    let outcome = apply(&fixture, &editor, changes, Atomicity::Transaction);
    assert!(!outcome.applied);
    assert_eq!(outcome.failed_change, Some(2));
    let untouched = (FileStatus::NotApplied, false);
    assert_eq!(statuses(&outcome), [untouched, untouched, (FileStatus::Error, false)]);
    let asked: Vec<_> = editor.asked.lock().unwrap().iter().map(|edit| (edit.path.clone(), edit.version)).collect();
    assert_eq!(asked, [(a.clone(), 1), (b.clone(), 1), (c.clone(), 1), (b.clone(), 2), (a.clone(), 2)]);
    assert_eq!([editor.text(&a), editor.text(&b), editor.text(&c)], ["ä one", "two", "three"]);
}

#[test]
fn what_was_typed_meanwhile_is_not_taken_back_with_it() {
    let fixture = Fixture::new();
    let [a, b] = ["a", "b"].map(|name| fixture.write(name, "disk"));
    let no = Err(EditorError::Refused("no".into()));
    let editor = Scripted::with(&[(&a, "one"), (&b, "two")], [Ok(None), no]);
    // A look for the plan, and one for taking back.
    *editor.typed.lock().unwrap() = Some((1, a.clone(), "1 and typed"));
    let changes = vec![replace(&a, "one", "1"), replace(&b, "two", "2")];
    let outcome = apply(&fixture, &editor, changes, Atomicity::Transaction);
    assert!(!outcome.applied);
    assert_eq!(statuses(&outcome), [(FileStatus::Applied, true), (FileStatus::Error, false)]);
    assert!(matches!(outcome.files[0].warnings[..], [Warning::NotTakenBack(_)]), "{:?}", outcome.files[0].warnings);
    assert_eq!((editor.asked(), editor.text(&a).as_str()), (2, "1 and typed"));
}

#[test]
fn an_editor_that_does_not_answer_is_waited_for_once() {
    let fixture = Fixture::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| fixture.write(name, "disk"));
    let silent = Err(EditorError::Unknown("silence".into()));
    let editor = Scripted::with(&[(&a, "one"), (&b, "two")], [silent]);
    let changes = vec![replace(&a, "one", "1"), replace(&b, "two", "2"), replace(&c, "disk", "3")];
    let outcome = apply(&fixture, &editor, changes, Atomicity::PerFile);
    assert_eq!(editor.asked(), 1);
    let error = (FileStatus::Error, false);
    assert_eq!(statuses(&outcome), [error, error, (FileStatus::Applied, false)]);
    assert!(error_of(&outcome).starts_with("EditorUnknown"));
    assert_eq!(fixture.read("c"), "3");
}

#[test]
fn an_edit_that_was_cancelled_does_not_reach_the_editor() {
    let fixture = Fixture::new();
    let path = fixture.write("a", "disk");
    let editor = Scripted::with(&[(&path, "one")], []);
    let cancel = CancelToken::new();
    assert!(cancel.cancel());
    let request = request([replace(&path, "one", "1")]);
    let outcome = fixture.manager.apply_with(&request, &editor, &cancel).unwrap();
    assert_eq!((error_of(&outcome).as_str(), editor.asked()), ("Cancelled", 0));
}

#[test]
fn a_change_in_a_document_is_no_change_of_a_file() {
    let fixture = Fixture::new();
    let path = fixture.write("a", "disk");
    let mut events = fixture.manager.subscribe_file_events().unwrap();
    let editor = Scripted::with(&[(&path, "one")], [Ok(None)]);
    let outcome = apply(&fixture, &editor, vec![replace(&path, "one", "1")], Atomicity::Transaction);
    assert!(outcome.applied);
    assert!(events.try_recv().is_none());
    assert_eq!(fixture.manager.status().writes.applied, 0);
}
