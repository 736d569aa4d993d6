//! A running server and the messages to and from it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    thread,
    time::Duration,
};

use ploke_io::server::{ServerOptions, serve};
use serde_json::Value;

/// Far more than any answer takes: reaching it means that what is waited for does not come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The client's end of a server: bytes in, messages out, and its exit code.
pub struct Connection {
    input: Option<Box<dyn Write + Send>>,
    messages: Receiver<Result<Value, String>>,
    exit_code: Receiver<u8>,
    kill: Option<Box<dyn FnOnce() + Send>>,
}

impl Connection {
    /// Serves in this process; what the server keeps for its user goes below `home`.
    pub fn in_process(home: &Path) -> Self {
        let options = ServerOptions { state_dir: Some(home.join("state")), ..ServerOptions::default() };
        Self::to(move |input, output| serve(input, output, options))
    }

    /// Runs `serve` on a thread of its own, between two pipes.
    pub fn to(serve: impl FnOnce(PipeReader, PipeWriter) -> u8 + Send + 'static) -> Self {
        let (server_input, input) = pipe();
        let (output, server_output) = pipe();
        let (exited, exit_code) = channel();
        thread::spawn(move || exited.send(serve(server_input, server_output)));
        Self { input: Some(Box::new(input)), messages: read_messages(output), exit_code, kill: None }
    }

    /// Starts the built binary; what it keeps for its user goes below `home`.
    pub fn binary(home: &Path) -> Self {
        Self::spawn(binary_command(home)).0
    }

    /// Starts a command that speaks as the server, and tells its process id.
    pub fn spawn(mut command: Command) -> (Self, u32) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
        let process_id = child.id();
        let input = child.stdin.take().expect("stdin is piped");
        let output = child.stdout.take().expect("stdout is piped");
        let kill = killer(&child);
        let (exited, exit_code) = channel();
        thread::spawn(move || {
            let status = child.wait().expect("a child can be waited for");
            // No code means that a signal ended it.
            exited.send(status.code().map_or(u8::MAX, |code| code as u8))
        });
        let messages = read_messages(output);
        (Self { input: Some(Box::new(input)), messages, exit_code, kill: Some(kill) }, process_id)
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("the input was closed before")?;
        match input.write_all(bytes).and_then(|()| input.flush()) {
            // The server may end before it has read everything; who waits for its messages will know.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| format!("cannot send: {error}")),
        }
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Ends a binary as a crash does, in the middle of what it is doing.
    pub fn kill(&mut self) -> Result<u8, String> {
        let kill = self.kill.take().ok_or("it is no process of its own, or has ended")?;
        kill();
        self.exit_code()
    }

    /// Waits for the next message; `None` is the end of the server's output.
    pub fn next_message(&mut self) -> Result<Option<Value>, String> {
        match self.messages.recv_timeout(PATIENCE) {
            Ok(message) => message.map(Some),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(format!("nothing came for {PATIENCE:?}")),
        }
    }

    /// Waits for the end of the server.
    pub fn exit_code(&mut self) -> Result<u8, String> {
        let code = self.exit_code.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("the server did not end within {PATIENCE:?}"),
            RecvTimeoutError::Disconnected => "the server panicked".to_owned(),
        })?;
        self.kill = None;
        Ok(code)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(kill) = self.kill.take() {
            kill();
        }
    }
}

/// The built binary as a server, with nothing of the settings of the user who runs the tests.
pub fn binary_command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ploke-io"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PLOKE_IO_")) {
        command.env_remove(name);
    }
    command.arg("--stdio").env("HOME", home).env("XDG_STATE_HOME", home.join("state"));
    command
}

#[cfg(unix)]
fn killer(child: &Child) -> Box<dyn FnOnce() + Send> {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = Pid::from_child(child);
    Box::new(move || {
        // It may have ended by itself in the meantime.
        let _ = kill_process(pid, Signal::KILL);
    })
}

#[cfg(not(unix))]
fn killer(_: &Child) -> Box<dyn FnOnce() + Send> {
    // The end of its input ends it.
    Box::new(|| ())
}

/// The bytes of one message as they go over the wire.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn read_messages(output: impl Read + Send + 'static) -> Receiver<Result<Value, String>> {
    let (sender, receiver) = channel();
    thread::spawn(move || forward_messages(BufReader::new(output), &sender));
    receiver
}

fn forward_messages(mut output: impl BufRead, sender: &Sender<Result<Value, String>>) {
    while let Some(message) = read_message(&mut output).transpose() {
        let failed = message.is_err();
        if sender.send(message).is_err() || failed {
            return;
        }
    }
}

fn read_message(output: &mut impl BufRead) -> Result<Option<Value>, String> {
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        output.read_line(&mut line).map_err(|error| format!("the server's output is unreadable: {error}"))?;
        match line.strip_suffix("\r\n") {
            None if line.is_empty() && length.is_none() => return Ok(None),
            None => return Err(format!("the server's output ends within a header: {line:?}")),
            Some("") => break,
            Some(header) => match header.split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().ok(),
                _ => return Err(format!("the server sent a strange header: {header:?}")),
            },
        }
    }
    let mut body = vec![0; length.ok_or("the server sent no Content-Length")?];
    output.read_exact(&mut body).map_err(|error| format!("the server's output ends within a message: {error}"))?;
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|error| format!("the server sent no JSON ({error}): {}", String::from_utf8_lossy(&body)))
}

/// An in-memory pipe of about the capacity an operating system's has, so that an end that stops reading is felt.
fn pipe() -> (PipeReader, PipeWriter) {
    let (sender, receiver) = sync_channel(16);
    (PipeReader { chunks: receiver, rest: io::Cursor::default() }, PipeWriter(sender))
}

pub struct PipeReader {
    chunks: Receiver<Vec<u8>>,
    rest: io::Cursor<Vec<u8>>,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.position() == self.rest.get_ref().len() as u64 {
            let Ok(chunk) = self.chunks.recv() else { return Ok(0) };
            self.rest = io::Cursor::new(chunk);
        }
        self.rest.read(buffer)
    }
}

pub struct PipeWriter(SyncSender<Vec<u8>>);

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = &bytes[..bytes.len().min(4096)];
        if !chunk.is_empty() {
            self.0.send(chunk.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages_of(output: &[u8]) -> Vec<Result<Value, String>> {
        let (sender, receiver) = channel();
        forward_messages(output, &sender);
        drop(sender);
        receiver.iter().collect()
    }

    #[test]
    fn bytes_written_to_a_pipe_come_out_in_order_and_then_it_ends() {
        let (mut reader, mut writer) = pipe();
        let sent: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        let copy = sent.clone();
        let writing = thread::spawn(move || writer.write_all(&copy));
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        writing.join().unwrap().unwrap();
        assert!(received == sent);
    }

    #[test]
    fn output_that_is_not_framed_json_is_an_error() {
        assert_eq!(messages_of(&frame(b"{}")), [Ok(serde_json::json!({}))]);
        for bad in [&b"garbage\r\n\r\n"[..], b"Content-Length: 9\r\n\r\n{}", b"\r\n{}", b"Content-Len", &frame(b"{")] {
            let messages = messages_of(bad);
            assert!(matches!(&messages[..], [Err(_)]), "{messages:?}");
        }
    }
}
