use super::*;

/// Hands out `bytes` in pieces of at most `piece` and remembers the largest buffer it was offered.
struct Script {
    bytes: io::Cursor<Vec<u8>>,
    piece: usize,
    interrupt_next: bool,
    largest_buffer: usize,
}

impl Script {
    fn new(bytes: impl Into<Vec<u8>>, piece: usize) -> Self {
        Self { bytes: io::Cursor::new(bytes.into()), piece, interrupt_next: false, largest_buffer: 0 }
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.largest_buffer = self.largest_buffer.max(buffer.len());
        let length = buffer.len().min(self.piece);
        self.bytes.read(&mut buffer[..length])
    }
}

fn reader(bytes: impl Into<Vec<u8>>) -> FrameReader<Script> {
    FrameReader::new(Script::new(bytes, usize::MAX), 1000)
}

fn body(text: &str) -> Frame {
    Frame::Body(text.as_bytes().to_vec())
}

#[test]
fn messages_follow_each_other_whatever_the_letter_case_and_the_other_headers() {
    let mut frames = reader(
        "Content-Length: 2\r\n\r\n{}content-length:3\r\nContent-Type: application/vscode-jsonrpc\r\n\r\n[1]\
         X: \r\nCONTENT-LENGTH:  0 \r\n\r\n",
    );
    assert_eq!(frames.next(), body("{}"));
    assert_eq!(frames.next(), body("[1]"));
    assert_eq!(frames.next(), body(""));
    assert_eq!(frames.next(), Frame::End);
}

#[test]
fn a_stream_that_gives_single_bytes_reads_the_same() {
    let mut frames = FrameReader::new(Script::new("Content-Length: 5\r\n\r\nhelloContent-Length: 1\r\n\r\n!", 1), 1000);
    assert_eq!(frames.next(), body("hello"));
    assert_eq!(frames.next(), body("!"));
    assert_eq!(frames.next(), Frame::End);
}

#[test]
fn the_next_message_is_there_when_it_has_come_to_its_end() {
    let header = "Content-Length: 5\r\n\r\n";
    for (rest, there) in [
        ("", false),
        ("Content-Le", false),
        (header, false),
        (&format!("{header}hell"), false),
        (&format!("{header}hello"), true),
        ("Content-Length: 1001\r\n\r\n", true),
        ("garbled\r\n", true),
    ] {
        let mut frames = reader(format!("Content-Length: 2\r\n\r\n{{}}{rest}"));
        assert!(!frames.has_next(), "nothing has been read");
        assert_eq!(frames.next(), body("{}"));
        assert_eq!(frames.has_next(), there, "{rest:?}");
    }
}

#[test]
fn interrupted_reads_are_repeated() {
    struct Interrupted(Script);
    impl Read for Interrupted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.interrupt_next = !self.0.interrupt_next;
            if self.0.interrupt_next { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(buffer) }
        }
    }
    let script =
        Script::new("Content-Length: 2000\r\n\r\n".to_owned() + &"x".repeat(2000) + "Content-Length: 2\r\n\r\nok", 7);
    let mut frames = FrameReader::new(Interrupted(script), 1000);
    assert_eq!(frames.next(), Frame::TooLong { bytes: 2000 });
    assert_eq!(frames.next(), body("ok"));
    assert_eq!(frames.next(), Frame::End);
}

#[test]
fn a_failed_read_is_the_end_of_input() {
    let mut frames = FrameReader::new(message_then_failure(), 1000);
    assert_eq!(frames.next(), body("{}"));
    assert_eq!(frames.next(), Frame::End);
}

fn message_then_failure() -> impl Read {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable was cut"))
        }
    }
    Script::new("Content-Length: 2\r\n\r\n{}", usize::MAX).chain(Fails)
}

#[test]
fn equal_content_lengths_agree() {
    let mut frames = reader("Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(frames.next(), body("{}"));
}

#[test]
fn framing_that_can_not_be_followed_is_broken() {
    use BrokenFraming::*;
    let cases = [
        ("Content-Type: x\r\n\r\n{}", NoContentLength),
        ("\r\n{}", NoContentLength),
        ("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", Contradictory),
        ("Content-Length: two\r\n\r\n{}", Garbled),
        ("Content-Length: -2\r\n\r\n{}", Garbled),
        ("Content-Length: +2\r\n\r\n{}", Garbled),
        ("Content-Length: 2, 2\r\n\r\n{}", Garbled),
        ("Content-Length: 2 2\r\n\r\n{}", Garbled),
        ("Content-Length:\r\n\r\n{}", Garbled),
        ("Content-Length: 18446744073709551616\r\n\r\n{}", Garbled),
        ("Content-Length 2\r\n\r\n{}", Garbled),
        ("Content-Length: 2\n\n{}", Garbled),
        ("{}\r\n", Garbled),
    ];
    for (bytes, reason) in cases {
        assert_eq!(reader(bytes).next(), Frame::Broken(reason), "{bytes:?}");
    }
}

#[test]
fn a_header_block_may_have_4096_bytes_and_no_more() {
    let with_block_of = |bytes: usize| {
        let fixed = "X: \r\nContent-Length: 2\r\n\r\n".len();
        format!("X: {}\r\nContent-Length: 2\r\n\r\n{{}}", "y".repeat(bytes - fixed))
    };
    assert_eq!(reader(with_block_of(4096)).next(), body("{}"));
    assert_eq!(reader(with_block_of(4097)).next(), Frame::Broken(BrokenFraming::HeaderTooLong));
    assert_eq!(reader("z".repeat(5000)).next(), Frame::Broken(BrokenFraming::HeaderTooLong));
}

#[test]
fn input_that_ends_within_a_message_has_ended() {
    for bytes in ["", "Content-Le", "Content-Length: 5\r\n", "Content-Length: 5\r\n\r\n", "Content-Length: 5\r\n\r\n{}"]
    {
        assert_eq!(reader(bytes).next(), Frame::End, "{bytes:?}");
    }
}

#[test]
fn a_body_over_the_limit_is_passed_over_without_being_kept() {
    const BODY: u64 = 200 * 1024 * 1024;
    let header = format!("Content-Length: {BODY}\r\n\r\n");
    let input = Script::new(header, usize::MAX)
        .chain(io::repeat(b'x').take(BODY))
        .chain(Script::new("Content-Length: 2\r\n\r\nok", usize::MAX));
    let mut frames = FrameReader::new(input, 64 * 1024 * 1024);
    assert_eq!(frames.next(), Frame::TooLong { bytes: BODY });
    assert_eq!(frames.next(), body("ok"));
    assert_eq!(frames.input.capacity(), 64 * 1024, "the only buffer there is");
}

#[test]
fn the_limit_itself_is_allowed_and_can_be_changed() {
    let two = format!("Content-Length: 1000\r\n\r\n{0}Content-Length: 1000\r\n\r\n{0}", "x".repeat(1000));
    let mut frames = reader(two);
    assert!(matches!(frames.next(), Frame::Body(_)));
    frames.set_max_body_bytes(999);
    assert_eq!(frames.next(), Frame::TooLong { bytes: 1000 });
}

#[test]
fn a_header_that_promises_much_reserves_little() {
    const PROMISED: u64 = 60 * 1024 * 1024;
    let bytes = format!("Content-Length: {PROMISED}\r\n\r\n{}", "x".repeat(100_000));
    let mut frames = FrameReader::new(Script::new(bytes, usize::MAX), PROMISED);
    assert_eq!(frames.next(), Frame::End);
    let largest = frames.input.get_ref().largest_buffer;
    assert!(largest <= 512 * 1024, "a buffer of {largest} bytes for 100,000 bytes that came");
}
