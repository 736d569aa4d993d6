use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use serde_json::Value;

use super::*;
use crate::server::transport::test_methods::change;

/// Remembers each call, and takes at most `most` bytes in one.
struct Calls {
    most: usize,
    calls: Vec<Vec<u8>>,
    flushes: usize,
}

impl Calls {
    fn taking(most: usize) -> Self {
        Self { most, calls: Vec::new(), flushes: 0 }
    }
}

impl Write for Calls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = &bytes[..bytes.len().min(self.most)];
        self.calls.push(taken.to_vec());
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        Ok(())
    }
}

/// An output that can be looked at after it was given away.
struct Shared<W>(Arc<Mutex<W>>);

impl<W> Shared<W> {
    fn new(output: W) -> Self {
        Self(Arc::new(Mutex::new(output)))
    }

    fn other(&self) -> Self {
        Self(self.0.clone())
    }

    fn look(&self) -> MutexGuard<'_, W> {
        self.0.lock().unwrap()
    }
}

impl<W: Write> Write for Shared<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.look().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.look().flush()
    }
}

fn nothing() {}

/// Closes the outbox and gives what it still held.
pub(in crate::server::transport) fn drain(outbox: &Outbox) -> String {
    outbox.close();
    let written = Shared::new(Vec::new());
    outbox.write_to(written.other(), nothing);
    String::from_utf8(written.look().clone()).unwrap()
}

#[test]
fn a_message_is_one_write() {
    let outbox = Outbox::new(1000);
    outbox.push(b"{}".to_vec());
    outbox.close();
    let calls = Shared::new(Calls::taking(usize::MAX));
    outbox.write_to(calls.other(), nothing);
    let calls = calls.look();
    assert_eq!(calls.calls, [b"Content-Length: 2\r\n\r\n{}"]);
    assert_eq!(calls.flushes, 1);
}

#[test]
fn a_message_of_several_pieces_is_one_frame() {
    let outbox = Outbox::new(10);
    let mut message = Message::from(b"[".to_vec());
    message.append(b"1,".to_vec());
    message.append(Vec::new());
    message.append(b"2".to_vec());
    message.write_all(b"]").unwrap();
    outbox.push(message);
    assert!(outbox.has_room(), "5 bytes of 10");
    outbox.push(b"{} {}".to_vec());
    assert!(!outbox.has_room());
    outbox.close();
    let written = Shared::new(Vec::new());
    outbox.write_to(written.other(), nothing);
    assert_eq!(*written.look(), b"Content-Length: 5\r\n\r\n[1,2]Content-Length: 5\r\n\r\n{} {}");
}

#[test]
fn messages_that_wait_are_written_together() {
    let outbox = Outbox::new(usize::MAX);
    for _ in 0..1000 {
        outbox.push(b"{}".to_vec());
    }
    outbox.close();
    let calls = Shared::new(Calls::taking(usize::MAX));
    outbox.write_to(calls.other(), nothing);
    let calls = calls.look();
    assert_eq!(calls.calls.concat(), b"Content-Length: 2\r\n\r\n{}".repeat(1000));
    assert_eq!(calls.calls.len(), 1);
}

#[test]
fn a_long_message_is_written_in_pieces_so_that_progress_is_seen() {
    let outbox = Outbox::new(1000);
    outbox.push(vec![b'x'; 10 * CHUNK]);
    outbox.close();
    let calls = Shared::new(Calls::taking(usize::MAX));
    outbox.write_to(calls.other(), nothing);
    let calls = calls.look();
    assert!(calls.calls.iter().all(|call| call.len() <= CHUNK));
    assert_eq!(outbox.bytes_taken(), calls.calls.concat().len() as u64);
}

#[test]
fn short_writes_are_completed() {
    let outbox = Outbox::new(1000);
    outbox.push(b"[1,2,3]".to_vec());
    outbox.close();
    let calls = Shared::new(Calls::taking(3));
    outbox.write_to(calls.other(), nothing);
    let calls = calls.look();
    assert_eq!(calls.calls.concat(), b"Content-Length: 7\r\n\r\n[1,2,3]");
}

#[test]
fn notifications_are_numbered_in_the_order_they_are_written() {
    let outbox = Arc::new(Outbox::new(usize::MAX));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let outbox = outbox.clone();
            thread::spawn(move || {
                for _ in 0..100 {
                    outbox.push_answer(vec![change("/r/a")], b"\"response\"".to_vec());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let written = drain(&outbox);
    let messages: Vec<Value> = written
        .split("Content-Length: ")
        .skip(1)
        .map(|message| serde_json::from_str(message.split_once("\r\n\r\n").unwrap().1).unwrap())
        .collect();
    assert_eq!(messages.len(), 1600);
    for (n, pair) in messages.chunks(2).enumerate() {
        assert_eq!(pair[0]["params"]["seq"], n + 1);
        assert_eq!(pair[1], "response", "right behind its notification");
    }
}

#[test]
fn an_answer_without_changes_has_no_notification() {
    let outbox = Outbox::new(1000);
    outbox.push_answer(Vec::new(), b"1".to_vec());
    assert_eq!(drain(&outbox), "Content-Length: 1\r\n\r\n1");
}

#[test]
fn events_are_refused_without_room_and_use_up_no_number() {
    let outbox = Outbox::new(10);
    outbox.push(vec![b' '; 9]);
    assert_eq!(outbox.try_push_changes(vec![change("/r/a")], false), Ok(()));
    assert_eq!(outbox.try_push_changes(vec![change("/r/b")], false), Err(Full));
    assert_eq!(outbox.try_push(Vec::new()), Err(Full));
    assert_eq!(outbox.last_seq(), 1);
    assert!(!outbox.has_room());
}

#[test]
fn one_message_may_be_larger_than_the_bound() {
    let outbox = Outbox::new(10);
    assert_eq!(outbox.try_push(vec![b' '; 1000]), Ok(()));
    assert!(!outbox.has_room());
}

#[test]
fn a_rescan_is_said_to_be_one() {
    let outbox = Outbox::new(1000);
    outbox.try_push_changes(Vec::new(), true).unwrap();
    assert!(drain(&outbox).contains(r#""rescan":true"#));
}

#[test]
fn room_is_told_once_it_is_there_again() {
    let outbox = Arc::new(Outbox::new(100));
    outbox.push(vec![b' '; 100]);
    let (told, tellings) = mpsc::channel();
    let writer = thread::spawn({
        let outbox = outbox.clone();
        move || outbox.write_to(io::sink(), || told.send(()).unwrap())
    });
    outbox.wait_for_room();
    assert!(outbox.has_room());
    tellings.recv().unwrap();
    outbox.push(vec![b' '; 99]);
    outbox.close();
    writer.join().unwrap();
    assert!(tellings.recv().is_err(), "there was room all the time");
}

#[test]
fn a_client_that_has_gone_takes_everything_and_gets_nothing() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let outbox = Outbox::new(10);
    outbox.push(vec![b' '; 100]);
    outbox.push(vec![b' '; 100]);
    let told = AtomicUsize::new(0);
    outbox.write_to(Gone, || {
        told.fetch_add(1, SeqCst);
    });
    assert_eq!(told.into_inner(), 1);
    outbox.wait_for_room();
    outbox.push(vec![b' '; 100]);
    assert_eq!(outbox.try_push_changes(vec![change("/r/a")], false), Ok(()));
    assert_eq!(drain(&outbox), "");
}

#[test]
fn what_is_queued_is_written_after_closing_and_nothing_else() {
    let outbox = Outbox::new(1000);
    outbox.push(b"1".to_vec());
    outbox.close();
    outbox.push(b"2".to_vec());
    assert_eq!(drain(&outbox), "Content-Length: 1\r\n\r\n1");
}

#[test]
fn nobody_waits_for_room_in_a_closed_outbox() {
    let outbox = Outbox::new(1);
    outbox.push(b"1".to_vec());
    outbox.close();
    outbox.wait_for_room();
}
