//! The client as an editor: its open documents, and the edits that it is asked to make in them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use lsp_types::{ClientCapabilities, request::ApplyWorkspaceEdit, request::Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Connection, EditorPatience, documents::Documents, transport::Outbox};
use crate::{
    engine::{BufferEdit, EditedBuffer, Editor, EditorError, OpenDocuments},
    hash::ContentHash,
    position::{LineIndex, PositionEncoding, PositionError},
    protocol::FileUri,
};

/// The client of a session as an editor.
///
/// Whoever asks it for an edit waits on its own thread; the answer comes from the one that reads, which never waits here.
pub(crate) struct ClientEditor {
    encoding: PositionEncoding,
    takes_edits: bool,
    connection: OnceLock<(Arc<Outbox>, EditorPatience)>,
    state: Mutex<State>,
    /// A document has changed, an answer has come, or the client has left.
    changed: Condvar,
}

struct State {
    documents: Documents,
    /// What the client was asked for and is waited for.
    asked: BTreeMap<u64, Asked>,
    last_asked: u64,
    left: bool,
}

struct Asked {
    path: PathBuf,
    text: String,
    answer: Option<Answer>,
    /// Hash and length of the text, once the client has sent it.
    shown: Option<(ContentHash, u64)>,
}

enum Answer {
    Applied,
    Refused(String),
}

/// Begins the ids of the server's own requests to the client, which no other of its requests has.
const ID_PREFIX: &str = "ploke-io/";

const TAKES_NO_EDITS: &str = "the client does not take edits of it (capability workspace.applyEdit); save it first";

impl ClientEditor {
    pub fn new(encoding: PositionEncoding, client: &ClientCapabilities) -> Self {
        let takes_edits = client.workspace.as_ref().and_then(|workspace| workspace.apply_edit).unwrap_or_default();
        let documents = Documents::new(encoding);
        let state = State { documents, asked: BTreeMap::new(), last_asked: 0, left: false };
        Self { encoding, takes_edits, connection: OnceLock::new(), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Called once, before the first message after `initialize` is read.
    pub fn connect(&self, connection: &Connection) {
        let _ = self.connection.set((connection.outbox.clone(), connection.editor_patience));
    }

    /// Follows a notification of the client about its documents; others are ignored.
    pub fn notified(&self, method: &str, params: &str) {
        let mut state = self.lock();
        if let Some(path) = state.documents.notified(method, params) {
            state.compare(&path);
            self.changed.notify_all();
        }
    }

    /// Takes in a response of the client; `false` if it answers nothing that was asked here.
    pub fn answered(&self, response: &str) -> bool {
        let Ok(Response { id, result, error }) = serde_json::from_str(response) else { return false };
        let Some(number) = id.as_str().and_then(|id| id.strip_prefix(ID_PREFIX)) else { return false };
        let mut state = self.lock();
        let asked = number.parse().ok().and_then(|number: u64| state.asked.get_mut(&number));
        match asked {
            Some(asked) => asked.answer = Some(Answer::of(result, error)),
            None => tracing::warn!(number, "the client has answered what nobody waits for any more"),
        }
        self.changed.notify_all();
        true
    }

    /// Nothing more will come from the client; who waits for it is told so.
    pub fn leave(&self) {
        self.lock().left = true;
        self.changed.notify_all();
    }

    /// Sends the request and waits for what comes of it.
    fn ask(&self, edit: &BufferEdit) -> Result<EditedBuffer, EditorError> {
        let refused = |why: &str| EditorError::Refused(why.into());
        let (outbox, patience) = self.connection.get().ok_or_else(|| refused("there is no connection"))?;
        let mut state = self.lock();
        if state.left {
            return Err(refused("the client has left"));
        }
        if state.documents.get(&edit.path).is_none_or(|document| document.version() != edit.version) {
            return Err(refused("the document was closed or changed since it was looked at"));
        }
        let params = params(&state.documents.uri(&edit.path), edit, self.encoding)
            .map_err(|error| EditorError::Refused(format!("the edit has no place in the document: {error}")))?;
        state.last_asked += 1;
        let number = state.last_asked;
        let (path, text) = (edit.path.clone(), edit.new_text.clone());
        state.asked.insert(number, Asked { path, text, answer: None, shown: None });
        let id = format!("{ID_PREFIX}{number}");
        tracing::info!(id, version = edit.version, "the client is asked to edit an open document");
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": ApplyWorkspaceEdit::METHOD, "params": params });
        outbox.push(message.to_string().into_bytes());

        let until_answered = Instant::now() + patience.answer;
        let state = self.wait(state, until_answered, |state| state.is_answered(number));
        let until_shown = Instant::now() + patience.change;
        let mut state = self.wait(state, until_shown, |state| state.is_concluded(number));
        let asked = state.asked.remove(&number);
        state.conclude(asked.as_ref(), edit, patience)
    }

    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        deadline: Instant,
        is_over: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if is_over(&state) || left.is_zero() {
                return state;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Editor for ClientEditor {
    fn documents(&self) -> Arc<OpenDocuments> {
        self.lock().documents.open().clone()
    }

    fn apply(&self, edit: &BufferEdit) -> Result<EditedBuffer, EditorError> {
        if !self.takes_edits {
            return Err(EditorError::CanNotEdit(TAKES_NO_EDITS));
        }
        self.ask(edit)
    }
}

impl State {
    /// Looks whether a document has become what somebody waits for.
    fn compare(&mut self, path: &Path) {
        let Some(document) = self.documents.get(path) else { return };
        let Some(text) = document.text() else { return };
        for asked in self.asked.values_mut().filter(|asked| asked.path == *path && asked.shown.is_none()) {
            if is_same_text(text, &asked.text) {
                asked.shown = document.hash().map(|hash| (hash, text.len() as u64));
            }
        }
    }

    fn is_answered(&self, number: u64) -> bool {
        self.left || self.asked.get(&number).is_none_or(|asked| asked.answer.is_some())
    }

    /// Whether nothing more has to be waited for after the time for an answer.
    fn is_concluded(&self, number: u64) -> bool {
        let applied = |asked: &Asked| matches!(asked.answer, Some(Answer::Applied)) && asked.shown.is_none();
        self.left || !self.asked.get(&number).is_some_and(applied)
    }

    fn conclude(
        &self,
        asked: Option<&Asked>,
        edit: &BufferEdit,
        patience: &EditorPatience,
    ) -> Result<EditedBuffer, EditorError> {
        let unknown = |why: String| Err(EditorError::Unknown(why));
        // What the document holds counts for more than what is said about it.
        if let Some(shown) = asked.and_then(|asked| asked.shown) {
            return Ok(EditedBuffer { shown: Some(shown) });
        }
        match asked.and_then(|asked| asked.answer.as_ref()) {
            Some(Answer::Refused(reason)) => Err(EditorError::Refused(reason.clone())),
            None if self.left => unknown("the client has left before it answered".into()),
            None => unknown(format!("it has not answered within {:?}", patience.answer)),
            Some(Answer::Applied) => match self.documents.get(&edit.path) {
                Some(document) if document.version() == edit.version && document.text().is_some() => {
                    Ok(EditedBuffer { shown: None })
                }
                Some(_) => unknown("it says so, but the document has become another one".into()),
                None => unknown("it says so, but the document was closed".into()),
            },
        }
    }
}

/// Whether texts are the same but for line endings, which an editor may change as it likes.
fn is_same_text(one: &str, other: &str) -> bool {
    one == other || one.replace("\r\n", "\n") == other.replace("\r\n", "\n")
}

#[derive(Deserialize)]
struct Response {
    id: Value,
    result: Option<Value>,
    error: Option<Value>,
}

impl Answer {
    fn of(result: Option<Value>, error: Option<Value>) -> Self {
        let text = |value: &Value| value.as_str().map(|text| text.chars().take(MAX_REASON).collect::<String>());
        if let Some(error) = error {
            return Self::Refused(text(&error["message"]).unwrap_or_else(|| "it answered with an error".into()));
        }
        let result = result.unwrap_or_default();
        match result["applied"].as_bool() {
            Some(true) => Self::Applied,
            _ => Self::Refused(text(&result["failureReason"]).unwrap_or_else(|| "it gave no reason".into())),
        }
    }
}

/// Characters of a client's reason.
const MAX_REASON: usize = 300;

/// The params of `workspace/applyEdit`.
fn params(uri: &FileUri, edit: &BufferEdit, encoding: PositionEncoding) -> Result<Value, PositionError> {
    let lines = LineIndex::of_document(&edit.old_text);
    let position =
        |offset| lines.position(offset, encoding).map(|at| json!({ "line": at.line, "character": at.character }));
    let edits: Result<Vec<_>, PositionError> = edit
        .edits
        .iter()
        .map(|(range, new_text)| {
            let (range, new_text) = between_characters(&edit.old_text, range.clone(), new_text);
            let range = json!({ "start": position(range.start)?, "end": position(range.end)? });
            Ok(json!({ "range": range, "newText": new_text }))
        })
        .collect();
    let document = json!({ "uri": uri, "version": edit.version });
    let changes = json!([{ "textDocument": document, "edits": edits? }]);
    Ok(json!({ "label": "ploke-io", "edit": { "documentChanges": changes } }))
}

/// The same edit with a range that does not cut a CRLF in two: there is no position between them.
fn between_characters(
    text: &str,
    mut range: std::ops::Range<usize>,
    new_text: &str,
) -> (std::ops::Range<usize>, String) {
    let cuts = |at: usize| at > 0 && text[..at].ends_with('\r') && text[at..].starts_with('\n');
    let mut new_text = new_text.to_owned();
    if cuts(range.end) {
        range.end += 1;
        new_text.push('\n');
    }
    if cuts(range.start) {
        range.start -= 1;
        new_text.insert(0, '\r');
    }
    (range, new_text)
}

#[cfg(test)]
mod tests;
