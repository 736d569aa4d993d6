//! What an undo brings back, and when it is refused.

use super::*;

#[cfg(unix)]
#[test]
fn an_undo_does_not_follow_a_link_that_came_later() {
    let scene = Scene::new(FileSystem::Able);
    fs::create_dir(scene.path("sub")).unwrap();
    let (engine, _) = scene.engine(None);
    let create = || scenario("", |scene| vec![scene.create("sub/a")]);
    assert!(scene.apply(&engine, &create(), Atomicity::Transaction).applied);
    fs::rename(scene.path("sub"), scene.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", scene.path("sub")).unwrap();

    let outcome = scene.undo(&engine);
    let error = outcome.files[0].error.as_ref().map(|error| &error.kind);
    assert!(matches!(error, Some(IoErrorKind::ContentMismatch { .. })), "{outcome:?}");
    assert_eq!(scene.content("elsewhere/a"), Some(new("sub/a")));
}
