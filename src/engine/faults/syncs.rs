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

#[test]
fn before_a_temporary_file_has_a_name_it_is_on_the_disk_where_to_look_for_it() {
    let names = operations(|scene| vec![scene.edit("0")]);
    let named = names.iter().position(|name| *name == "name").unwrap();
    let before: Vec<_> = names[..named].iter().filter(|name| name.starts_with("sync")).collect();
    assert_eq!(before, [&"sync_file", &"sync_dir", &"sync_file"], "{names:?}");
}

#[test]
fn a_new_state_directory_is_on_the_disk_before_it_is_used() {
    let scene = Scene::new(FileSystem::Able);
    fs::remove_dir_all(scene.state.path()).unwrap();
    let (_, disk) = scene.engine(None);
    assert_eq!(disk.names(), ["sync_dir"; 4], "of itself and of what is in it");
    assert_eq!(scene.engine(None).1.names(), Vec::<&str>::new());
}
