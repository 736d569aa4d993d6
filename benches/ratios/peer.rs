//! A child process that answers messages on stdio: the sidecar, or the echo that is its floor.

use std::{
    env, fs,
    io::{BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use ploke_io::protocol::FileUri;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Result,
    echo::{self, read_message},
};

pub struct Peer {
    process: Child,
    /// `None` once it is to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    message: Vec<u8>,
}

impl Peer {
    /// Starts the built sidecar and opens a session with this root.
    pub fn sidecar(root: &Path) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ploke-io"));
        command.env("XDG_STATE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-state"));
        command.arg("--log-dir").arg(concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-log"));
        let mut peer = Self::start(command)?;
        let folder = json!({ "uri": FileUri::from_path(root), "name": "root" });
        peer.request("initialize", &json!({ "capabilities": {}, "workspaceFolders": [folder] }))?;
        peer.send(&frame(&json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} })))?;
        Ok(peer)
    }

    pub fn echo() -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(echo::ARGUMENT);
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("no pipes".into());
        };
        Ok(Self { process, input, output: BufReader::with_capacity(64 << 10, output), message: Vec::new() })
    }

    /// Sends a request and returns its result.
    pub fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.send(&frame(&request(1, method, params)))?;
        let mut answer: Value = serde_json::from_slice(self.receive_answer(1)?)?;
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(format!("{method}: {answer}").into()),
        }
    }

    /// Waits for the answer to a request and returns its body; what comes before it is dropped.
    pub fn receive_answer(&mut self, id: i64) -> Result<&[u8]> {
        #[derive(Deserialize)]
        struct Message {
            #[serde(default)]
            id: Value,
        }
        loop {
            let message: Message = serde_json::from_slice(body(self.receive()?))?;
            if message.id == id {
                return Ok(body(&self.message));
            }
        }
    }

    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        Ok(self.input.as_mut().ok_or("it is to end")?.write_all(frame)?)
    }

    /// Waits for the next message and returns it with its header.
    pub fn receive(&mut self) -> Result<&[u8]> {
        self.message.clear();
        if read_message(&mut self.output, &mut self.message)? {
            Ok(&self.message)
        } else {
            Err(format!("the other side has ended: {}", self.process.wait()?).into())
        }
    }

    /// Ends the session in order and waits for the process.
    pub fn end(mut self) -> Result<()> {
        self.request("shutdown", &Value::Null)?;
        self.send(&frame(&json!({ "jsonrpc": "2.0", "method": "exit" })))?;
        let status = self.process.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the sidecar has ended with {status}").into()) }
    }

    /// Memory of the process that is in RAM, in bytes; `None` where the system does not tell.
    pub fn resident_bytes(&self) -> Result<Option<i64>> {
        let Ok(status) = fs::read_to_string(format!("/proc/{}/status", self.process.id())) else { return Ok(None) };
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let kibibytes: i64 = line.ok_or("no VmRSS in the status of the process")?.parse()?;
        Ok(Some(kibibytes * 1024))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may end in order, so that it leaves nothing that the next one would have to read.
        self.input = None;
        for _ in 0..1000 {
            if let Ok(Some(_)) = self.process.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        // An error means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn request(id: i64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

pub fn frame(message: &Value) -> Vec<u8> {
    let body = message.to_string();
    format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A message without its header.
pub fn body(message: &[u8]) -> &[u8] {
    let end_of_header = message.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    end_of_header.map_or(message, |at| &message[at + 4..])
}
