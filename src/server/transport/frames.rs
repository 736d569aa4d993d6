//! Messages as they stand in the byte stream: a bounded header block, then as many bytes as it announces.

use std::{
    io::{self, BufRead, BufReader, Read},
    str,
};

/// Cuts a byte stream into messages.
///
/// Memory follows the data that has come, never what a header promises.
pub(super) struct FrameReader<R> {
    input: BufReader<R>,
    max_body_bytes: u64,
    /// Bytes of a refused body that are still to come.
    unread: u64,
    line: Vec<u8>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    Body(Vec<u8>),
    /// A body over the limit; the next call passes over it without keeping it.
    TooLong {
        bytes: u64,
    },
    /// Nobody can know where the next message begins.
    Broken(BrokenFraming),
    /// End of input, also in the middle of a message.
    End,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum BrokenFraming {
    #[error("header block without Content-Length")]
    NoContentLength,
    #[error("garbled header line: expected `Content-Length: <decimal number>` and lines that end in \\r\\n")]
    Garbled,
    #[error("contradictory Content-Length headers")]
    Contradictory,
    #[error("header block longer than {MAX_HEADER_BYTES} bytes")]
    HeaderTooLong,
}

pub(super) const MAX_HEADER_BYTES: usize = 4096;

/// What is reserved for a body before any of it has come.
const FIRST_RESERVATION: usize = 64 * 1024;

impl<R: Read> FrameReader<R> {
    pub fn new(input: R, max_body_bytes: u64) -> Self {
        Self { input: BufReader::with_capacity(64 * 1024, input), max_body_bytes, unread: 0, line: Vec::new() }
    }

    pub fn max_body_bytes(&self) -> u64 {
        self.max_body_bytes
    }

    pub fn set_max_body_bytes(&mut self, bytes: u64) {
        self.max_body_bytes = bytes;
    }

    /// Waits for the next message. After [`Frame::Broken`] or [`Frame::End`] there is none.
    pub fn next(&mut self) -> Frame {
        self.try_next().unwrap_or_else(|stop| match stop {
            Stop::Broken(reason) => Frame::Broken(reason),
            Stop::End => Frame::End,
            Stop::Io(error) => {
                tracing::warn!(%error, "reading failed, taken for the end of input");
                Frame::End
            }
        })
    }

    /// Whether the next message is there already, so that nobody has to wait for it.
    pub fn has_next(&self) -> bool {
        let mut rest = self.input.buffer();
        if self.unread > 0 || rest.is_empty() {
            return false;
        }
        match read_header(&mut rest, &mut Vec::new()) {
            Ok(length) => length > self.max_body_bytes || rest.len() as u64 >= length,
            Err(stop) => !matches!(stop, Stop::End),
        }
    }

    fn try_next(&mut self) -> Result<Frame, Stop> {
        self.skip_refused_body()?;
        let length = read_header(&mut self.input, &mut self.line)?;
        if length > self.max_body_bytes {
            self.unread = length;
            return Ok(Frame::TooLong { bytes: length });
        }
        self.read_body(length).map(Frame::Body)
    }

    fn skip_refused_body(&mut self) -> Result<(), Stop> {
        io::copy(&mut self.input.by_ref().take(self.unread), &mut io::sink())?;
        self.unread = 0;
        Ok(())
    }

    fn read_body(&mut self, length: u64) -> Result<Vec<u8>, Stop> {
        let reservation = usize::try_from(length).unwrap_or(usize::MAX).min(FIRST_RESERVATION);
        let mut body = Vec::with_capacity(reservation);
        self.input.by_ref().take(length).read_to_end(&mut body)?;
        if (body.len() as u64) < length { Err(Stop::End) } else { Ok(body) }
    }
}

fn read_header(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<u64, Stop> {
    let mut room = MAX_HEADER_BYTES;
    let mut length = None;
    loop {
        line.clear();
        room -= input.by_ref().take(room as u64).read_until(b'\n', line)?;
        if !line.ends_with(b"\n") {
            return Err(if room == 0 { BrokenFraming::HeaderTooLong.into() } else { Stop::End });
        }
        let field = line.strip_suffix(b"\r\n").ok_or(BrokenFraming::Garbled)?;
        if field.is_empty() {
            return Ok(length.ok_or(BrokenFraming::NoContentLength)?);
        }
        if let Some(new) = content_length(field)? {
            if length.is_some_and(|old| old != new) {
                return Err(BrokenFraming::Contradictory.into());
            }
            length = Some(new);
        }
    }
}

/// The value of a Content-Length field, `None` for any other field.
fn content_length(field: &[u8]) -> Result<Option<u64>, BrokenFraming> {
    let colon = field.iter().position(|byte| *byte == b':').ok_or(BrokenFraming::Garbled)?;
    let (name, value) = (field[..colon].trim_ascii(), field[colon + 1..].trim_ascii());
    if !name.eq_ignore_ascii_case(b"content-length") {
        return Ok(None);
    }
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(BrokenFraming::Garbled);
    }
    let number = str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or(BrokenFraming::Garbled)
}

enum Stop {
    Broken(BrokenFraming),
    End,
    Io(io::Error),
}

impl From<BrokenFraming> for Stop {
    fn from(reason: BrokenFraming) -> Self {
        Self::Broken(reason)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests;
