//! A client in the same process, over a pair of sockets each way.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{Dispatch, Setup, Threads, in_flight::Limits, test_methods::TEST_ROUTES};
use crate::server::ServerOptions;

pub(super) struct TestClient {
    to_server: UnixStream,
    from_server: BufReader<UnixStream>,
    exit_code: mpsc::Receiver<u8>,
    pub dispatch: Arc<Dispatch>,
}

/// How long a test waits for what must come; only a failing test ever does.
const PATIENCE: Duration = Duration::from_secs(60);

impl Setup {
    /// The test methods within the limits of the real server.
    pub fn test() -> Self {
        Self { routes: TEST_ROUTES, ..Self::default() }
    }

    pub fn running(running: usize) -> Self {
        let limits = Limits { running, ..Self::default().limits };
        Self { limits, ..Self::test() }
    }
}

impl TestClient {
    /// A client that has said nothing yet.
    pub fn start(setup: Setup, options: ServerOptions) -> Self {
        let (to_server, input) = UnixStream::pair().unwrap();
        let (from_server, output) = UnixStream::pair().unwrap();
        from_server.set_read_timeout(Some(PATIENCE)).unwrap();
        to_server.set_write_timeout(Some(PATIENCE)).unwrap();
        let threads = Threads::start(input, output, options, setup).unwrap();
        let dispatch = threads.dispatch.clone();
        let (code, exit_code) = mpsc::channel();
        thread::spawn(move || code.send(threads.wait_for_the_end()));
        Self { to_server, from_server: BufReader::new(from_server), exit_code, dispatch }
    }

    /// A client that has been initialized with nothing special.
    pub fn initialized(setup: Setup) -> Self {
        let mut client = Self::start(setup, ServerOptions::default());
        client.request(json!("init"), "initialize", json!({ "capabilities": {} }));
        assert!(client.receive()["result"]["capabilities"].is_object());
        client.notify("initialized", json!({}));
        client
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.to_server.write_all(bytes).unwrap();
    }

    /// For a thread that sends while this one receives.
    pub fn clone_input(&self) -> UnixStream {
        self.to_server.try_clone().unwrap()
    }

    /// Sends a body, whatever it is, with a right header.
    pub fn send_body(&mut self, body: &[u8]) {
        self.send_raw(&[format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat());
    }

    pub fn send(&mut self, message: Value) {
        self.send_body(message.to_string().as_bytes());
    }

    pub fn request(&mut self, id: Value, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    pub fn cancel(&mut self, id: Value) {
        self.notify("$/cancelRequest", json!({ "id": id }));
    }

    /// The next message of the server.
    pub fn receive(&mut self) -> Value {
        self.try_receive().expect("the server sends no more")
    }

    /// The next message of the server, `None` if there will be no more.
    pub fn try_receive(&mut self) -> Option<Value> {
        let mut length = None;
        loop {
            let mut line = String::new();
            if self.from_server.read_line(&mut line).unwrap() == 0 {
                assert_eq!(length, None, "the server stopped within a header");
                return None;
            }
            match line.trim_end() {
                "" => break,
                field => length = Some(field.strip_prefix("Content-Length: ").unwrap().parse().unwrap()),
            }
        }
        let mut body = vec![0; length.unwrap()];
        self.from_server.read_exact(&mut body).unwrap();
        let message: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(message["jsonrpc"], "2.0");
        Some(message)
    }

    /// The next message, which must be the result of the request with this id.
    pub fn result(&mut self, id: impl Into<Value>) -> Value {
        let message = self.receive();
        assert_eq!(message["id"], id.into(), "{message}");
        message.get("result").unwrap_or_else(|| panic!("no result: {message}")).clone()
    }

    /// Code and text of the next message, which must be an error for the request with this id.
    pub fn error(&mut self, id: impl Into<Value>) -> (i64, String) {
        let message = self.receive();
        assert_eq!(message["id"], id.into(), "{message}");
        let error = &message["error"];
        (error["code"].as_i64().unwrap_or_else(|| panic!("no error: {message}")), error["message"].to_string())
    }

    /// Asserts that the session goes on.
    pub fn assert_alive(&mut self) {
        self.request(json!("alive?"), "test/echo", json!({ "value": "yes" }));
        assert_eq!(self.result("alive?"), "yes");
    }

    /// Ends the input of the server.
    pub fn end_input(&mut self) {
        self.to_server.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads no more, so that the server can not write any more.
    pub fn stop_listening(&mut self) {
        self.from_server.get_ref().shutdown(Shutdown::Both).unwrap();
    }

    /// What the server still sends until it closes its output.
    pub fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.try_receive()).collect()
    }

    pub fn exit_code(&mut self) -> u8 {
        self.exit_code.recv_timeout(PATIENCE).expect("the session does not end")
    }
}
