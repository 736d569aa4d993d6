//! Verified reads.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Instant,
};

use ploke_io::{
    CancelToken,
    engine::{Asking, EmbeddingData, Found, Guard, TextRange},
    error::{GuardKind, IoErrorKind},
    hash::{ContentHash, TrackingHash},
};
use uuid::Uuid;

use super::{Fixture, guard};

#[test]
fn results_have_the_length_and_order_of_the_requests_and_bad_items_fail_alone() {
    let fixture = Fixture::new();
    for index in 0..40 {
        fixture.write(&format!("{index}.txt"), format!("text {index}"));
    }
    let requests: Vec<_> = (0..120)
        .map(|index| EmbeddingData {
            path: fixture.path(&format!("{}.txt", index % 50)),
            range: Some(TextRange::Bytes { start: 5, end: if index == 70 { 99 } else { 6 } }),
            ..EmbeddingData::default()
        })
        .collect();
    let results = fixture.manager.snippets(&requests, &CancelToken::new()).unwrap();
    assert_eq!(results.len(), 120);
    for (index, result) in results.iter().enumerate() {
        let file = index % 50;
        match result {
            Ok(snippet) => assert_eq!(snippet.text, file.to_string()[..1]),
            Err(error) if index == 70 => assert!(matches!(error.kind, IoErrorKind::OutOfRange { file_bytes: 7 })),
            Err(error) => assert!(file >= 40 && matches!(error.kind, IoErrorKind::NotFound), "{index}: {error}"),
        }
    }
}

#[test]
fn all_snippets_of_a_file_come_from_one_reading_however_its_path_is_spelled() {
    let fixture = Fixture::new();
    let path = fixture.write("dir/f.txt", "0 0");
    #[cfg(unix)]
    std::os::unix::fs::symlink("dir", fixture.path("link")).unwrap();
    #[cfg(unix)]
    let spelling = fixture.path("link/f.txt");
    #[cfg(not(unix))]
    let spelling = path.clone();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let aside = fixture.dir.path().join("aside");
            for round in (0..10).cycle() {
                if done.load(SeqCst) {
                    break;
                }
                fs::write(&aside, format!("{round} {round}")).unwrap();
                fs::rename(&aside, &path).unwrap();
            }
        });
        for _ in 0..2_000 {
            let at = |path: &std::path::PathBuf, start| EmbeddingData {
                path: path.clone(),
                range: Some(TextRange::Bytes { start, end: start + 1 }),
                ..EmbeddingData::default()
            };
            let results = fixture.manager.snippets(&[at(&path, 0), at(&spelling, 2)], &CancelToken::new()).unwrap();
            let [first, second] = results.try_into().unwrap();
            assert_eq!(first.unwrap().text, second.unwrap().text);
        }
        done.store(true, SeqCst);
    });
}

#[test]
fn a_comment_put_before_the_range_fails_the_content_hash_and_not_the_tracking_hash() {
    let fixture = Fixture::new();
    let before = "fn a() {}\nfn b() {}\n";
    let path = fixture.write("f.rs", before);
    let tracking = TrackingHash::of_text(Uuid::nil(), &fs::canonicalize(&path).unwrap(), before).unwrap();
    fs::write(&path, format!("// a comment\n{before}")).unwrap();
    let range = Some(TextRange::Bytes { start: 10, end: 19 });
    let read = |expected| fixture.snippet(EmbeddingData { path: path.clone(), range, expected, ..Default::default() });

    let by_tokens = read(Guard { tracking_hash: Some(tracking), ..Guard::default() }).unwrap();
    assert_eq!(by_tokens.tracking_hash, Some(tracking));
    let error = read(guard(before)).unwrap_err();
    let now = ContentHash::of(&fs::read(&path).unwrap());
    assert!(
        matches!(error.kind, IoErrorKind::ContentMismatch { guard: GuardKind::ContentHash, actual: Some(actual) } if actual.content == now),
        "{error:?}"
    );
}

#[test]
fn each_guard_is_checked() {
    let fixture = Fixture::new();
    let text = "fn a() {}\nfn b() {}\n";
    let path = fixture.write("f.rs", text);
    let real = fs::canonicalize(&path).unwrap();
    let hash_of = |text| TrackingHash::of_text(Uuid::nil(), &real, text).unwrap();
    let good = EmbeddingData {
        path,
        source: None,
        range: Some(TextRange::Bytes { start: 10, end: 19 }),
        expected: Guard { tracking_hash: Some(hash_of(text)), ..guard(text) },
        expected_text: Some("fn b() {}".into()),
        node_tracking_hash: Some(hash_of("fn b( ) { }")),
        want_tracking: false,
    };
    assert_eq!(fixture.snippet(good.clone()).unwrap().text, "fn b() {}");
    let with = |change: fn(&mut EmbeddingData)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    for (request, failed) in [
        (with(|request| request.expected.content_hash = Some(ContentHash::of(b""))), GuardKind::ContentHash),
        (with(|request| request.expected.tracking_hash = Some(TrackingHash(Uuid::nil()))), GuardKind::TrackingHash),
        (with(|request| request.expected.namespace = Uuid::from_u128(1)), GuardKind::TrackingHash),
        (with(|request| request.expected_text = Some("fn c() {}".into())), GuardKind::ExpectedText),
        (with(|request| request.node_tracking_hash = Some(TrackingHash(Uuid::nil()))), GuardKind::NodeTrackingHash),
        (with(|request| request.expected.version = Some(1)), GuardKind::Version),
    ] {
        match fixture.snippet(request).unwrap_err().kind {
            IoErrorKind::ContentMismatch { guard, actual: Some(actual) } => {
                assert_eq!(guard, failed);
                assert_eq!(actual.content, ContentHash::of(text.as_bytes()));
            }
            other => panic!("{failed:?}: {other:?}"),
        }
    }
}

#[test]
fn only_a_tracking_hash_needs_rust_and_it_fails_for_that_item_alone() {
    let fixture = Fixture::new();
    let path = fixture.write("notes.md", "# not (rust\n");
    assert_eq!(fixture.read_whole(&path).unwrap(), "# not (rust\n");
    let request = EmbeddingData { path: path.clone(), want_tracking: true, ..EmbeddingData::default() };
    let requests = [request, EmbeddingData { path, ..EmbeddingData::default() }];
    let results = fixture.manager.snippets(&requests, &CancelToken::new()).unwrap();
    assert!(matches!(&results[0], Err(error) if matches!(error.kind, IoErrorKind::Parse(_))), "{results:?}");
    assert!(results[1].is_ok());
}

#[test]
fn files_above_the_limit_are_refused_unread_and_bytes_that_are_no_text_with_their_place() {
    let fixture = Fixture::with(|builder, root| builder.with_roots([root]).with_max_file_bytes(10));
    let at_limit = fixture.write("10", "0123456789");
    assert_eq!(fixture.read_whole(at_limit).unwrap(), "0123456789");
    let above = fixture.write("11", "0123456789a");
    let error = fixture.read_whole(above).unwrap_err();
    assert!(matches!(error.kind, IoErrorKind::TooLarge { bytes: 11, limit: 10 }), "{error:?}");
    let binary = fixture.write("binary", b"ab\xff");
    let error = fixture.read_whole(binary).unwrap_err();
    assert!(matches!(error.kind, IoErrorKind::NotUtf8 { valid_up_to: 2 }), "{error:?}");
}

#[test]
fn a_file_nested_a_hundred_thousand_levels_deep_is_an_error_of_that_item() {
    let fixture = Fixture::new();
    let deep = format!("fn f() {{ {}{} }}", "(".repeat(100_000), ")".repeat(100_000));
    let path = fixture.write("deep.rs", &deep);
    let request = EmbeddingData { path: path.clone(), want_tracking: true, ..EmbeddingData::default() };
    let error = fixture.snippet(request).unwrap_err();
    assert!(matches!(error.kind, IoErrorKind::Parse(_)), "{:?}", error.kind);
    assert_eq!(fixture.read_whole(path).unwrap(), deep);
}

#[test]
fn a_cancelled_request_says_so_for_what_it_did_not_read() {
    let fixture = Fixture::new();
    let cancel = CancelToken::new();
    cancel.cancel();
    let request = EmbeddingData { path: fixture.write("a", ""), ..EmbeddingData::default() };
    let error = fixture.manager.snippets(&[request], &cancel).unwrap().remove(0).unwrap_err();
    assert!(matches!(error.kind, IoErrorKind::Cancelled));
}

#[test]
fn the_largest_limit_reads_the_whole_file() {
    let fixture = Fixture::with(|builder, root| builder.with_roots([root]).with_max_file_bytes(u64::MAX));
    let path = fixture.write("f.txt", "text");
    assert_eq!(fixture.read_whole(path).unwrap(), "text");
}

#[cfg(unix)]
#[cfg(unix)]
#[test]
fn texts_of_one_file_under_two_names_take_their_room_once() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "x".repeat(600));
    let link = fixture.path("link.txt");
    std::os::unix::fs::symlink("f.txt", &link).unwrap();
    let range = Some(TextRange::Bytes { start: 0, end: 400 });
    let requests = [path, link].map(|path| EmbeddingData { path, range, ..EmbeddingData::default() });
    let read = |max_bytes| {
        let since = Instant::now();
        let asking = Asking { documents: &Default::default(), max_bytes, since, cancel: &CancelToken::new() };
        let texts = |found: &mut Found<_>| found.filter_map(|(_, found)| found.ok()).count();
        fixture.manager.snippets_with(&requests, &asking, texts).unwrap()
    };
    assert_eq!(read(800), [2], "both, of one reading");
    assert_eq!(read(799), [1]);
}

#[test]
fn a_file_larger_than_the_memory_is_an_error_and_no_crash() {
    let fixture = Fixture::with(|builder, root| builder.with_roots([root]).with_max_file_bytes(u64::MAX));
    let path = fixture.write("f.txt", "");
    // Sparse: it takes no room.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(8 << 40).unwrap();
    let error = fixture.read_whole(path).unwrap_err();
    assert!(error.to_string().contains("read"), "{error}");
}

#[test]
fn requests_that_came_before_a_reading_share_it_and_later_ones_do_not() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "first");
    let request = EmbeddingData { path: path.clone(), ..EmbeddingData::default() };
    let read = |since: Instant| {
        let asking = Asking { documents: &Default::default(), max_bytes: u64::MAX, since, cancel: &CancelToken::new() };
        let requests = std::slice::from_ref(&request);
        let read = |found: &mut Found<_>| found.next().unwrap().1.map(|snippet| snippet.text.to_owned());
        fixture.manager.snippets_with(requests, &asking, read).unwrap().remove(0)
    };
    let earlier = Instant::now();
    assert_eq!(read(earlier).unwrap(), "first");
    fs::write(&path, "other").unwrap();
    assert_eq!(read(earlier).unwrap(), "first", "as if it had been read beside the first request");
    assert_eq!(read(Instant::now()).unwrap(), "other");
    assert_eq!(read(earlier).unwrap(), "other");

    // What the manager itself does is seen by whatever begins afterwards.
    assert!(fixture.edit(&path, "other", (0, 5), "third").applied);
    assert_eq!(read(earlier).unwrap(), "third");
    fixture.manager.remove_root(&fixture.root()).unwrap();
    assert!(matches!(read(earlier).unwrap_err().kind, IoErrorKind::OutsideRoots { .. }));
}
