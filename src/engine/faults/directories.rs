//! Transactions over many directories.

use super::*;

fn create_in_directories(count: usize) -> (Scene, EditOutcome, Vec<&'static str>) {
    let scene = Scene::new(FileSystem::Able);
    let (engine, disk) = scene.engine(None);
    let changes =
        (0..count).flat_map(|n| ["a", "b", "c"].map(|name| scene.create(&format!("made{n}/{name}")))).collect();
    let outcome = engine.apply(&EditRequest { changes, ..EditRequest::default() }, &NoEditor, &CancelToken::new());
    let names = disk.names();
    (scene, outcome, names)
}

#[test]
fn a_transaction_over_more_directories_than_may_be_open_is_refused_before_anything_is_touched() {
    let (scene, outcome, _) = create_in_directories(7);
    assert!(outcome.applied, "seven directories and the one above them: {outcome:?}");
    assert_eq!(scene.content("made6/c"), Some(new("made6/c")));

    let (scene, outcome, names) = create_in_directories(8);
    let error = outcome.files[0].error.as_ref().unwrap();
    assert!(error.to_string().contains("ulimit -n"), "{error}");
    assert!(
        names.iter().all(|name| ["create", "write", "remove"].contains(name)),
        "only the copy for the undo: {names:?}"
    );
    assert_eq!(scene.tree(), Scene::new(FileSystem::Able).tree());
    assert_eq!(scene.left_in_state(), Vec::<String>::new());
}
