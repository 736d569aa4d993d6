//! The floor of a conversation over stdio: a process that sends every message back as it came.

use std::io::{self, BufRead, BufReader, Read, Write};

/// What the benchmark calls itself with to become that process.
pub const ARGUMENT: &str = "echo";

pub fn run(input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut message = Vec::new();
    loop {
        message.clear();
        if !read_message(&mut input, &mut message)? {
            return Ok(());
        }
        output.write_all(&message)?;
        output.flush()?;
    }
}

/// Appends the next message with its header; `false` at the end of input.
pub fn read_message(input: &mut impl BufRead, message: &mut Vec<u8>) -> io::Result<bool> {
    let begin = message.len();
    loop {
        let line = message.len();
        if input.read_until(b'\n', message)? == 0 {
            return if line == begin { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if message[line..] == *b"\r\n" {
            break;
        }
    }
    let length = content_length(&message[begin..]).ok_or_else(|| io::Error::other("no Content-Length"))?;
    message.reserve(length);
    if input.take(length as u64).read_to_end(message)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(true)
}

fn content_length(header: &[u8]) -> Option<usize> {
    std::str::from_utf8(header).ok()?.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
}
