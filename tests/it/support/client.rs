//! The client of tests written in Rust; whatever goes wrong is a panic.

use std::{path::Path, thread};

use serde_json::{Value, json};

use super::{
    connection::Connection,
    peer::{Peer, initialize_params},
    values::file_uri,
};

/// An initialized session with one server.
///
/// Dropping it shuts the server down and panics if the server sent a message that nobody claimed.
pub struct Client {
    peer: Peer,
    next_id: i64,
    ended: bool,
}

impl Client {
    /// A session with a server in this process; see [`Client::new`] and [`Connection::in_process`].
    pub fn in_process(home: &Path, root: &Path, patch: &Value) -> Self {
        Self::new(Connection::in_process(home), root, patch)
    }

    /// A session with the built binary; see [`Client::new`] and [`Connection::binary`].
    pub fn binary(home: &Path, root: &Path, patch: &Value) -> Self {
        Self::new(Connection::binary(home), root, patch)
    }

    /// A session over `connection` with one root; `patch` is merged over the params of `initialize`.
    pub fn new(connection: Connection, root: &Path, patch: &Value) -> Self {
        let mut peer = Peer::new(connection);
        peer.initialize(&initialize_params(&file_uri(root), patch)).unwrap_or_else(|error| panic!("{error}"));
        Self { peer, next_id: 1, ended: false }
    }

    /// Sends a request and waits for its result; an error response is a panic.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.start(method, params);
        self.finish(id).unwrap_or_else(|error| panic!("{method} failed: {error}"))
    }

    /// Sends a request without waiting and returns its id.
    pub fn start(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.peer.request(&json!(id), method, Some(&params)).unwrap_or_else(|error| panic!("{error}"));
        id
    }

    /// Waits for the response to a request: its result or its error object.
    pub fn finish(&mut self, id: i64) -> Result<Value, Value> {
        let mut response = self.peer.response(&json!(id)).unwrap_or_else(|error| panic!("{error}"));
        if response.get("error").is_some() { Err(response["error"].take()) } else { Ok(response["result"].take()) }
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.peer.notify(method, Some(&params)).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits for the first unclaimed notification of this method and returns its params.
    pub fn next_notification(&mut self, method: &str) -> Value {
        self.peer.notification(method).unwrap_or_else(|error| panic!("{error}"))["params"].take()
    }

    /// Ends the server's input, waits for its end and returns the exit code.
    pub fn close(mut self) -> u8 {
        self.ended = true;
        self.peer.close_input();
        self.peer.end().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ends the server's input, whatever it has still to say, and waits for its end.
    pub fn leave(mut self) {
        self.ended = true;
        self.peer.leave().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Kills the server, which must be a binary, whatever it has said.
    pub fn kill(mut self) {
        self.ended = true;
        self.peer.kill().unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.ended && !thread::panicking() {
            self.peer.shut_down().unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::support::peer::tests::scripted;

    #[test]
    fn requests_and_notifications_are_claimed() {
        let connection = scripted(vec![
            json!({"jsonrpc": "2.0", "id": 1, "result": {"n": 1}}),
            json!({"jsonrpc": "2.0", "id": 2, "error": {"code": -1}}),
            json!({"jsonrpc": "2.0", "method": "note", "params": [3]}),
        ]);
        let mut client = Client::new(connection, Path::new("/r"), &json!({}));
        assert_eq!(client.request("a", json!({})), json!({"n": 1}));
        let id = client.start("b", json!({}));
        assert_eq!(client.finish(id), Err(json!({"code": -1})));
        assert_eq!(client.next_notification("note"), json!([3]));
        assert_eq!(client.close(), 1);
    }

    #[test]
    fn a_session_works_in_this_process_and_with_the_binary() {
        for connect in [Client::in_process, Client::binary] {
            let home = tempfile::tempdir().unwrap();
            let root = home.path().canonicalize().unwrap().join("root");
            fs::create_dir(&root).unwrap();
            let mut client = connect(home.path(), &root, &json!({}));
            let file = file_uri(&root.join("new.txt"));
            let create = json!({"documentChanges": [{"kind": "create", "uri": file, "text": "new"}]});
            let result = client.request("ploke/applyEdits", create);
            assert_eq!(result["applied"], true, "{result}");
            assert_eq!(client.next_notification("ploke/fileChanged")["changes"][0]["uri"], json!(file));
            let folder = json!({"uri": file_uri(&root), "name": "root"});
            let event = json!({"event": {"added": [], "removed": [folder]}});
            client.notify("workspace/didChangeWorkspaceFolders", event);
            assert_eq!(client.request("ploke/status", json!({}))["roots"], json!([]));
        }
    }

    #[test]
    #[should_panic(expected = "unclaimed message")]
    fn dropping_it_fails_if_a_message_was_not_claimed() {
        drop(Client::new(scripted(vec![json!({"method": "surprise"})]), Path::new("/r"), &json!({})));
    }
}
