//! A small client of the sidecar: what it takes to talk to `ploke-io` over stdio, in one file.
//!
//! Messages are JSON-RPC 2.0 behind a `Content-Length` header, as in LSP. A thread reads them; whoever waits for a
//! response puts the notifications that come before it aside, in their order.

use std::{
    collections::VecDeque,
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// A session with a sidecar of its own, which is killed when the session is dropped before its end.
pub(super) struct Client {
    process: Child,
    input: ChildStdin,
    /// Closed by the reading thread when the sidecar closes its stdout.
    incoming: Receiver<io::Result<Value>>,
    errors: Option<JoinHandle<String>>,
    notifications: VecDeque<Value>,
    last_id: i64,
    /// How long to wait for a message.
    limit: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("the sidecar could not be started or written to: {0}")]
    Io(#[from] io::Error),
    #[error("the sidecar sent something that is not a message: {0}")]
    NotAMessage(io::Error),
    #[error("the sidecar ended")]
    Ended,
    #[error("nothing within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the error response {0}")]
    Refused(Value),
}

impl Client {
    pub(super) fn start(
        program: &OsStr,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        limit: Duration,
    ) -> Result<Self, ClientError> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (variable, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PLOKE_IO_")) {
            // The session must not depend on settings for other sessions.
            command.env_remove(variable);
        }
        let mut process = command.spawn()?;
        let (Some(input), Some(output), Some(errors)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(io::Error::other("no pipes").into());
        };
        Ok(Self {
            process,
            input,
            incoming: read_in_background(output),
            errors: Some(collect_in_background(errors)),
            notifications: VecDeque::new(),
            last_id: 0,
            limit,
        })
    }

    /// Sends a request and waits for its result.
    pub(super) fn request(&mut self, method: &str, params: Value) -> Result<Value, ClientError> {
        self.last_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params }))?;
        let deadline = Instant::now() + self.limit;
        loop {
            let mut message = self.receive(deadline)?;
            if message.get("method").is_some() {
                self.notifications.push_back(message);
            } else if message["id"] == self.last_id {
                return match message.get_mut("result") {
                    Some(result) => Ok(result.take()),
                    None => Err(ClientError::Refused(message["error"].take())),
                };
            }
        }
    }

    /// The id of the last request, as changes that it made carry it.
    pub(super) fn last_id(&self) -> i64 {
        self.last_id
    }

    pub(super) fn notify(&mut self, method: &str, params: Value) -> Result<(), ClientError> {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    }

    /// The params of the next notification of this method that came with or before the last response.
    pub(super) fn received(&mut self, method: &str) -> Option<Value> {
        let mut messages = self.notifications.drain(..);
        let params = messages.find(|message| message["method"] == method).map(|mut message| message["params"].take());
        let later: VecDeque<Value> = messages.collect();
        self.notifications = later;
        params
    }

    /// Waits for the next notification of this method, whatever others come before it.
    pub(super) fn wait_for(&mut self, method: &str) -> Result<Value, ClientError> {
        let deadline = Instant::now() + self.limit;
        loop {
            if let Some(params) = self.received(method) {
                return Ok(params);
            }
            let message = self.receive(deadline)?;
            self.notifications.push_back(message);
        }
    }

    /// Waits for the sidecar to end, as it does after `exit`.
    pub(super) fn wait_for_end(&mut self) -> Result<ExitStatus, ClientError> {
        let deadline = Instant::now() + self.limit;
        loop {
            match self.receive(deadline) {
                Ok(_) => {}
                Err(ClientError::Ended) => return Ok(self.process.wait()?),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the sidecar at once and returns what it wrote to stderr.
    pub(super) fn kill(&mut self) -> String {
        // An error means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default()
    }

    fn send(&mut self, message: &Value) -> Result<(), ClientError> {
        let body = message.to_string();
        let written = write!(self.input, "Content-Length: {}\r\n\r\n{body}", body.len());
        written.and_then(|()| self.input.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => ClientError::Ended,
            _ => error.into(),
        })
    }

    /// The next response or notification; requests of the sidecar are declined.
    fn receive(&mut self, deadline: Instant) -> Result<Value, ClientError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = match self.incoming.recv_timeout(left) {
                Ok(message) => message.map_err(ClientError::NotAMessage)?,
                Err(RecvTimeoutError::Timeout) => return Err(ClientError::TimedOut(self.limit)),
                Err(RecvTimeoutError::Disconnected) => return Err(ClientError::Ended),
            };
            if message.get("method").is_none() || message.get("id").is_none() {
                return Ok(message);
            }
            let error = json!({ "code": -32601, "message": "this client answers no requests" });
            self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }))?;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_in_background(output: ChildStdout) -> Receiver<io::Result<Value>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        while let Some(message) = read_message(&mut output).transpose() {
            let last = message.is_err();
            if sender.send(message).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// Reads the next message; `None` at the end of the stream.
fn read_message(input: &mut impl BufRead) -> io::Result<Option<Value>> {
    let mut length = None;
    let mut header = String::new();
    loop {
        header.clear();
        if input.read_line(&mut header)? == 0 {
            return if length.is_none() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let field = header.trim_end();
        match (field.split_once(':'), length) {
            (Some((name, value)), _) if name.eq_ignore_ascii_case("Content-Length") => {
                length = Some(value.trim().parse::<u64>().map_err(io::Error::other)?);
            }
            (Some(_), _) => {}
            (None, Some(length)) if field.is_empty() => return read_body(input, length).map(Some),
            (None, _) => return Err(io::Error::other(format!("{field:?} instead of a header"))),
        }
    }
}

fn read_body(input: &mut impl BufRead, length: u64) -> io::Result<Value> {
    let mut body = Vec::new();
    if input.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&body)?)
}

fn collect_in_background(mut errors: ChildStderr) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read is all there is to show.
        let _ = errors.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_one_after_the_other() {
        let mut stream =
            &b"Content-Length: 2\r\n\r\n{}content-length: 4\r\nContent-Type: x; charset=utf-8\r\n\r\n\"\xc3\xa4\""[..];
        assert_eq!(read_message(&mut stream).unwrap(), Some(json!({})));
        assert_eq!(read_message(&mut stream).unwrap(), Some(json!("ä")));
        assert_eq!(read_message(&mut stream).unwrap(), None);
    }

    #[test]
    fn anything_else_is_an_error() {
        for stream in [
            "hello\n",
            "\r\n{}",
            "Content-Length: many\r\n\r\n{}",
            "Content-Length: 9\r\n\r\n{}",
            "Content-Length: 2\r\n",
            "Content-Length: 2\r\n\r\n[}",
        ] {
            assert!(read_message(&mut stream.as_bytes()).is_err(), "{stream:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_sidecar_that_says_nothing_is_given_up_and_killed() {
        let limit = Duration::from_millis(20);
        let mut client = Client::start("sleep".as_ref(), ["600"], limit).unwrap();
        assert!(matches!(client.request("initialize", json!({})), Err(ClientError::TimedOut(_))));
        assert!(matches!(client.wait_for("ploke/fileChanged"), Err(ClientError::TimedOut(_))));
        assert!(matches!(client.wait_for_end(), Err(ClientError::TimedOut(_))));
        assert_eq!(client.kill(), "");
    }

    #[cfg(unix)]
    #[test]
    fn what_comes_before_a_response_is_kept_and_an_error_response_is_an_error() {
        let messages = [
            r#"{"method":"other","params":0}"#,
            r#"{"method":"wanted","params":1}"#,
            r#"{"method":"wanted","params":2}"#,
            r#"{"id":1,"error":{"code":-32601}}"#,
        ];
        let output: String =
            messages.iter().map(|body| format!("Content-Length: {}\\r\\n\\r\\n{body}", body.len())).collect();
        let script = format!("printf '{output}'; echo trouble >&2; exec cat > /dev/null");
        let mut client = Client::start("sh".as_ref(), ["-c", &script], Duration::from_secs(10)).unwrap();

        let refused = client.request("unknown", json!({})).unwrap_err();
        assert!(matches!(&refused, ClientError::Refused(error) if error["code"] == -32601), "{refused}");
        assert_eq!(client.wait_for("wanted").unwrap(), 1);
        assert_eq!(client.received("wanted"), Some(json!(2)));
        assert_eq!(client.received("wanted"), None);
    }
}
