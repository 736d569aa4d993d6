//! A message for the client before it is written.

use std::io::{self, Write};

/// The JSON text of a message, in pieces: what many threads have made need not be copied together.
///
/// What is [written](Write) to it is appended.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Message {
    begin: Vec<u8>,
    /// What follows.
    pieces: Vec<Vec<u8>>,
}

impl Message {
    pub fn append(&mut self, piece: Vec<u8>) {
        self.pieces.push(piece);
    }

    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        [&self.begin].into_iter().chain(&self.pieces).map(Vec::as_slice)
    }

    pub fn bytes(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }
}

impl From<Vec<u8>> for Message {
    fn from(text: Vec<u8>) -> Self {
        Self { begin: text, pieces: Vec::new() }
    }
}

impl Write for Message {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pieces.last_mut().unwrap_or(&mut self.begin).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
