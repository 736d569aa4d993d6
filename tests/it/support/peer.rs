//! Claims the server's messages one by one; every message must be claimed by someone.

use serde_json::{Value, json};

use super::connection::{Connection, frame};

pub struct Peer {
    connection: Connection,
    unclaimed: Vec<Value>,
    answered: Vec<Value>,
}

impl Peer {
    pub fn new(connection: Connection) -> Self {
        Self { connection, unclaimed: Vec::new(), answered: Vec::new() }
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.connection.send(bytes)
    }

    pub fn request(&mut self, id: &Value, method: &str, params: Option<&Value>) -> Result<(), String> {
        self.answered.retain(|answered| answered != id);
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method}), params)
    }

    pub fn notify(&mut self, method: &str, params: Option<&Value>) -> Result<(), String> {
        self.send(json!({"jsonrpc": "2.0", "method": method}), params)
    }

    fn send(&mut self, mut message: Value, params: Option<&Value>) -> Result<(), String> {
        if let Some(params) = params {
            message["params"] = params.clone();
        }
        self.connection.send(&frame(message.to_string().as_bytes()))
    }

    /// Waits for the response to the request `id`: the whole message.
    pub fn response(&mut self, id: &Value) -> Result<Value, String> {
        self.claim(&format!("the response to {id}"), |message| {
            message.get("method").is_none() && message.get("id") == Some(id)
        })
    }

    /// Waits for the first notification of this method that nobody has claimed: the whole message.
    pub fn notification(&mut self, method: &str) -> Result<Value, String> {
        self.claim(&format!("a {method} notification"), |message| {
            message["method"] == method && message.get("id").is_none()
        })
    }

    /// Waits for the first request of the server of this method that nobody has claimed: the whole message.
    pub fn asked(&mut self, method: &str) -> Result<Value, String> {
        self.claim(&format!("a {method} request"), |message| message["method"] == method && message.get("id").is_some())
    }

    /// Answers a request of the server; `member` is `result` or `error`.
    pub fn respond(&mut self, id: &Value, member: &str, body: &Value) -> Result<(), String> {
        self.send(json!({"jsonrpc": "2.0", "id": id, member: body}), None)
    }

    fn claim(&mut self, wanted: &str, is_wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let mut seen = 0;
        loop {
            if let Some(found) = self.unclaimed[seen..].iter().position(&is_wanted) {
                return Ok(self.unclaimed.remove(seen + found));
            }
            seen = self.unclaimed.len();
            let problem = match self.receive() {
                Ok(true) => continue,
                Ok(false) => "the server's output ended".to_owned(),
                Err(problem) => problem,
            };
            return Err(format!("waiting for {wanted}: {problem}{}", self.list_unclaimed()));
        }
    }

    /// Adds the next message to the unclaimed ones; `false` at the end of the output.
    fn receive(&mut self) -> Result<bool, String> {
        let Some(message) = self.connection.next_message()? else { return Ok(false) };
        if let Some(changes) = message["params"]["changes"].as_array() {
            if let Some(late) = changes.iter().find(|change| self.answered.contains(&change["requestId"])) {
                return Err(format!("the response to {} came before this change it made: {late}", late["requestId"]));
            }
        }
        if message.get("method").is_none() && !message["id"].is_null() {
            self.answered.push(message["id"].clone());
        }
        self.unclaimed.push(message);
        Ok(true)
    }

    pub fn initialize(&mut self, params: &Value) -> Result<(), String> {
        let id = json!("initialize");
        self.request(&id, "initialize", Some(params))?;
        let response = self.response(&id)?;
        if response.get("result").is_none() {
            return Err(format!("initialize failed: {response}"));
        }
        self.notify("initialized", Some(&json!({})))
    }

    /// Ends the session as a client should: everything must have been claimed, and the exit code is 0.
    pub fn shut_down(&mut self) -> Result<(), String> {
        let id = json!("shutdown");
        self.request(&id, "shutdown", None)?;
        let response = self.response(&id)?;
        if response.get("result") != Some(&Value::Null) {
            return Err(format!("shutdown failed: {response}"));
        }
        self.notify("exit", None)?;
        match self.end()? {
            0 => Ok(()),
            code => Err(format!("exit code {code} after shutdown")),
        }
    }

    pub fn close_input(&mut self) {
        self.connection.close_input();
    }

    /// Waits for the end of the server; an error if anything was left unclaimed.
    pub fn end(&mut self) -> Result<u8, String> {
        while self.receive()? {}
        let code = self.connection.exit_code()?;
        if self.unclaimed.is_empty() { Ok(code) } else { Err(format!("the session ended{}", self.list_unclaimed())) }
    }

    /// Ends the session as a client does that does not listen any more.
    pub fn leave(&mut self) -> Result<u8, String> {
        self.close_input();
        while self.receive()? {}
        self.connection.exit_code()
    }

    pub fn kill(&mut self) -> Result<u8, String> {
        self.connection.kill()
    }

    fn list_unclaimed(&self) -> String {
        self.unclaimed.iter().map(|message| format!("\nunclaimed message: {message}")).collect()
    }
}

/// The params of `initialize`: one root, nothing watched; `patch` is merged over them, `null` in it removes.
///
/// Whoever watches gets a debounce that keeps the events of one change together on a busy machine, too.
pub fn initialize_params(root_uri: &str, patch: &Value) -> Value {
    let mut params = json!({
        "processId": null,
        "rootUri": null,
        "capabilities": {},
        "workspaceFolders": [{"uri": root_uri, "name": "root"}],
        "initializationOptions": {"watch": {"enabled": false, "debounceMs": 300}, "log": {"level": "off"}},
    });
    merge(&mut params, patch);
    params
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(key);
                } else {
                    merge(target.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

#[cfg(test)]
pub mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::support::connection::{PipeReader, PipeWriter};

    /// A server that sends these messages at once, then reads until `exit` or the end of its input.
    ///
    /// It answers `initialize` and `shutdown`, and returns 0 after `exit`, else 1.
    pub fn scripted(messages: Vec<Value>) -> Connection {
        Connection::to(move |input, output| play(input, output, &messages))
    }

    fn play(mut input: PipeReader, mut output: PipeWriter, messages: &[Value]) -> u8 {
        for message in messages {
            output.write_all(&frame(message.to_string().as_bytes())).unwrap();
        }
        let mut received = String::new();
        let mut chunk = [0; 4096];
        loop {
            let length = input.read(&mut chunk).unwrap();
            received += std::str::from_utf8(&chunk[..length]).unwrap();
            for id in ["initialize", "shutdown"] {
                let request = format!(r#""id":"{id}""#);
                if received.contains(&request) {
                    received = received.replace(&request, "");
                    let response = json!({"jsonrpc": "2.0", "id": id, "result": null});
                    output.write_all(&frame(response.to_string().as_bytes())).unwrap();
                }
            }
            if received.contains(r#""method":"exit""#) {
                return 0;
            }
            if length == 0 {
                return 1;
            }
        }
    }

    #[test]
    fn messages_are_claimed_whatever_their_order() {
        let response = |id| json!({"jsonrpc": "2.0", "id": id, "result": id});
        let note = json!({"jsonrpc": "2.0", "method": "note"});
        let mut peer = Peer::new(scripted(vec![response(2), note.clone(), response(1)]));
        assert_eq!(peer.response(&json!(1)), Ok(response(1)));
        assert_eq!(peer.response(&json!(2)), Ok(response(2)));
        assert_eq!(peer.notification("note"), Ok(note));
        assert_eq!(peer.shut_down(), Ok(()));
    }

    #[test]
    fn a_message_nobody_claimed_is_an_error() {
        let mut peer = Peer::new(scripted(vec![json!({"method": "surprise"})]));
        let error = peer.shut_down().unwrap_err();
        assert!(error.contains("unclaimed message: {\"method\":\"surprise\"}"), "{error}");
    }

    #[test]
    fn a_second_response_to_one_request_is_an_error() {
        let response = json!({"jsonrpc": "2.0", "id": 1, "result": null});
        let mut peer = Peer::new(scripted(vec![response.clone(), response]));
        peer.response(&json!(1)).unwrap();
        assert!(peer.shut_down().is_err());
    }

    #[test]
    fn a_change_that_comes_after_the_response_of_its_request_is_an_error() {
        let change = json!({"method": "ploke/fileChanged", "params": {"changes": [{"requestId": 1}]}});
        let response = json!({"jsonrpc": "2.0", "id": 1, "result": null});
        let mut peer = Peer::new(scripted(vec![response.clone(), change.clone()]));
        let error = peer.notification("ploke/fileChanged").unwrap_err();
        assert!(error.contains("came before this change"), "{error}");

        let mut peer = Peer::new(scripted(vec![change, response]));
        peer.response(&json!(1)).unwrap();
        peer.notification("ploke/fileChanged").unwrap();
    }

    #[test]
    fn what_never_comes_is_an_error_when_the_output_ends() {
        let mut peer = Peer::new(scripted(vec![]));
        peer.close_input();
        let error = peer.response(&json!(1)).unwrap_err();
        assert!(error.contains("the server's output ended"), "{error}");
        assert_eq!(peer.end(), Ok(1));
    }

    #[test]
    fn a_patch_of_the_initialize_params_replaces_and_removes() {
        let params = initialize_params(
            "file:///r",
            &json!({"workspaceFolders": null, "initializationOptions": {"watch": {"enabled": true}}}),
        );
        assert_eq!(params.get("workspaceFolders"), None);
        assert_eq!(params["initializationOptions"]["watch"], json!({"enabled": true, "debounceMs": 300}));
    }
}
