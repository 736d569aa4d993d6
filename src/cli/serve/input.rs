//! The bytes of the client, awaited without sleeping while it asks one short question after the other.

use std::{
    fs::File,
    io::{self, Read},
    thread,
    time::{Duration, Instant},
};

/// Input that looks again for a [`MOMENT`] before it sleeps, if the client was as quick the last time.
///
/// To be woken takes a process several times as long as to answer a small request, above all on a virtual machine. A
/// client that is not waited for in vain costs nothing; where there is none, nothing is ever awake.
pub(super) struct Input {
    file: File,
    is_quick: bool,
}

/// About what it takes to be woken.
const MOMENT: Duration = Duration::from_micros(50);

impl Input {
    pub fn new(file: File) -> Self {
        Self { file, is_quick: false }
    }

    /// Whether reading would not wait, be it for an error.
    #[cfg(unix)]
    fn is_ready(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&now)) != Ok(0)
    }

    /// Not known: reading waits as long as it takes.
    #[cfg(not(unix))]
    fn is_ready(&self) -> bool {
        true
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begin = Instant::now();
        while self.is_quick && !self.is_ready() && begin.elapsed() < MOMENT {
            // The client may need this very processor.
            thread::yield_now();
        }
        let read = self.file.read(buffer);
        // Of a client that was slept for, the time to be woken counts too.
        self.is_quick = begin.elapsed() < 2 * MOMENT;
        read
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io::Write, os::fd::OwnedFd};

    use super::*;

    fn pipe() -> (Input, File) {
        let (input, output): (OwnedFd, OwnedFd) = rustix::pipe::pipe().unwrap();
        (Input::new(input.into()), output.into())
    }

    #[test]
    fn what_was_written_is_read_by_who_waits_awake_and_who_sleeps() {
        for is_quick in [true, false] {
            let (mut input, mut client) = pipe();
            input.is_quick = is_quick;
            client.write_all(b"there already").unwrap();
            let mut buffer = [0; 32];
            assert_eq!(input.read(&mut buffer).unwrap(), 13);
            input.is_quick = is_quick;
            thread::scope(|scope| {
                let (begun, has_begun) = std::sync::mpsc::channel();
                scope.spawn(move || {
                    has_begun.recv().unwrap();
                    client.write_all(b"later").unwrap();
                });
                begun.send(()).unwrap();
                assert_eq!(input.read(&mut buffer).unwrap(), 5);
            });
            assert_eq!(input.read(&mut buffer).unwrap(), 0, "the end");
        }
    }

    #[test]
    fn a_client_that_takes_longer_is_slept_for() {
        let (mut input, mut client) = pipe();
        input.is_quick = true;
        thread::scope(|scope| {
            scope.spawn(move || {
                // The pace of the client.
                thread::sleep(Duration::from_millis(20));
                client.write_all(b"late").unwrap();
            });
            assert_eq!(input.read(&mut [0; 32]).unwrap(), 4);
        });
        assert!(!input.is_quick);
    }
}
