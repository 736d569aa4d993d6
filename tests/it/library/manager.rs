//! The manager's life: subscriptions, shutdown, cancellation.

use ploke_io::{
    engine::{CreateFileData, EmbeddingData, FileData, TextChange, WriteSnippetData},
    error::{IoErrorKind, Severity},
    events::FileEventKind,
    hash::ContentHash,
    manager::IoManagerBuilder,
};

use super::{Fixture, guard};

fn rename_b(path: &std::path::Path, expected: &str) -> WriteSnippetData {
    let change = TextChange { range: None, new_text: "B".into(), expected_text: Some("b".into()) };
    WriteSnippetData { path: path.into(), expected: guard(expected), edits: vec![change] }
}

#[tokio::test]
async fn batches_answer_each_item_and_tell_subscribers_of_writes() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "a b c");
    let mut events = fixture.manager.subscribe_file_events().unwrap();
    let handle = fixture.manager.clone();

    let writes = vec![rename_b(&path, "a b c"), rename_b(&fixture.path("none"), "")];
    let results = handle.write_snippets_batch(writes).await.unwrap();
    let written = results[0].as_ref().unwrap();
    assert_eq!(written.content_hash, ContentHash::of(b"a B c"));
    assert_eq!(written.edits, [(2..3, 2..3)]);
    assert!(matches!(results[1].as_ref().unwrap_err().kind, IoErrorKind::NotFound));
    assert_eq!(results[1].as_ref().unwrap_err().severity(), Severity::Fatal);

    let batch = events.recv().await.unwrap();
    assert_eq!(batch.changes.len(), 1);
    let change = &batch.changes[0];
    assert_eq!((change.kind, change.origin), (FileEventKind::Modified, Some(written.origin)));
    assert_eq!(change.path, std::fs::canonicalize(&path).unwrap());
    assert_eq!(change.content_hash, Some(written.content_hash));

    let create = CreateFileData { path: fixture.path("new"), text: "n".into(), ..Default::default() };
    let created = handle.create_files_batch(vec![create]).await.unwrap();
    assert_eq!(created[0].as_ref().unwrap().content_hash, ContentHash::of(b"n"));
    assert_eq!(events.recv().await.unwrap().changes[0].kind, FileEventKind::Created);

    let snippet = EmbeddingData { path: path.clone(), expected: guard("a B c"), ..Default::default() };
    assert_eq!(handle.get_snippets_batch(vec![snippet]).await.unwrap()[0].as_ref().unwrap().text, "a B c");
    let scan = FileData { path, expected: guard("a B c"), ..Default::default() };
    assert!(handle.scan_changes_batch(vec![scan]).await.unwrap()[0].is_ok());
}

#[tokio::test]
async fn calls_after_shutdown_get_a_clear_error_and_subscriptions_end() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "b");
    let mut events = fixture.manager.subscribe_file_events().unwrap();
    fixture.manager.shutdown().await;
    fixture.manager.shutdown().await;
    let errors = [
        fixture.manager.get_snippets_batch(vec![]).await.unwrap_err(),
        fixture.manager.scan_changes_batch(vec![]).await.unwrap_err(),
        fixture.manager.write_snippets_batch(vec![rename_b(&path, "b")]).await.unwrap_err(),
        fixture.manager.create_files_batch(vec![]).await.unwrap_err(),
        fixture.manager.subscribe_file_events().unwrap_err(),
        fixture.manager.add_root(&fixture.root()).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error.kind, IoErrorKind::ShutDown), "{error:?}");
        assert!(error.to_string().contains("shut down"), "{error}");
    }
    assert_eq!(events.recv().await, None);
    assert_eq!(fixture.read("f.txt"), "b");
}

#[tokio::test]
async fn subscriptions_end_with_the_last_handle() {
    let fixture = Fixture::new();
    let mut events = fixture.manager.subscribe_file_events().unwrap();
    drop(fixture);
    assert_eq!(events.recv().await, None);
}

#[test]
fn settings_out_of_their_range_are_refused() {
    let error = IoManagerBuilder::new().with_semaphore_permits(0).build().unwrap_err();
    assert!(error.to_string().contains("at least 1"), "{error}");
}

#[tokio::test]
async fn one_permit_is_enough_for_any_request() {
    let fixture = Fixture::with(|builder, root| builder.with_roots([root]).with_semaphore_permits(1).with_fd_limit(4));
    let paths: Vec<_> = (0..50).map(|index| fixture.write(&format!("{index}/f"), "b")).collect();
    let writes = fixture.manager.write_snippets_batch(paths.iter().map(|path| rename_b(path, "b")).collect());
    let reads = fixture.manager.get_snippets_batch(
        paths.iter().map(|path| EmbeddingData { path: path.clone(), ..Default::default() }).collect(),
    );
    let (writes, reads) = tokio::join!(writes, reads);
    assert!(writes.unwrap().iter().all(Result::is_ok) && reads.unwrap().iter().all(Result::is_ok));
}

#[cfg(all(feature = "watcher", unix))]
#[tokio::test]
async fn a_hint_is_followed_below_a_root_that_was_given_through_a_link() {
    use std::time::Duration;

    use ploke_io::watch::{Backend, WatchConfig};
    // Nothing but a hint makes it look.
    let config =
        WatchConfig { backend: Backend::Poll, poll_interval: Duration::from_secs(3600), ..WatchConfig::default() };
    let fixture = Fixture::with(|builder, root| {
        let link = root.with_file_name("link");
        std::os::unix::fs::symlink(root, &link).unwrap();
        builder.with_roots([link]).with_watch_config(config)
    });
    fixture.manager.sync_file_events(Duration::from_secs(30)).await.unwrap();
    let mut events = fixture.manager.subscribe_file_events().unwrap();
    let path = fixture.write("new", "n");
    fixture.manager.hint_change(&fixture.dir.path().join("link/new")).unwrap();
    let batch = tokio::time::timeout(Duration::from_secs(30), events.recv()).await.unwrap().unwrap();
    assert_eq!(batch.changes[0].path, std::fs::canonicalize(path).unwrap());
}
