//! What is synced, and before what.

use super::*;

/// The operations of a request that goes well.
fn operations(changes: impl Fn(&Scene) -> Vec<Change>) -> Vec<&'static str> {
    let scene = Scene::new(FileSystem::Able);
    let (engine, disk) = scene.engine(None);
    let request = EditRequest { changes: changes(&scene), ..EditRequest::default() };
    assert!(engine.apply(&request, &NoEditor, &CancelToken::new()).applied);
    disk.names()
}

#[test]
fn a_file_is_synced_before_it_is_renamed() {
    let names = operations(|scene| vec![scene.rename_new("0", "new")]);
    let position = |name: &str| names.iter().position(|operation| *operation == name);
    assert!(position("sync_file").is_some_and(|synced| Some(synced) < position("rename_new")), "{names:?}");
    assert_eq!(names.last(), Some(&"sync_dir"), "{names:?}");
}
