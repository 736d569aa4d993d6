//! Requests that change a tree in every way there is.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::scene::{Scene, Session, Tree, hash};

/// A request, and the state that it is sent in.
#[derive(Clone, Copy)]
pub struct Job {
    pub name: &'static str,
    /// How many files are worked on at once; with one, each run makes the same calls in the same order.
    pub at_once: u32,
    before: Option<fn(&Scene) -> Value>,
    method: &'static str,
    params: fn(&Scene) -> Value,
}

const EDIT: &str = "ploke/applyEdits";

pub const JOBS: &[Job] = &[
    Job { name: "edit", at_once: 1, before: None, method: EDIT, params: |scene| changes([edit(scene, "a")]) },
    Job {
        name: "create",
        at_once: 1,
        before: None,
        method: EDIT,
        params: |scene| changes([create(scene, "made/deep/new")]),
    },
    Job {
        name: "rename",
        at_once: 1,
        before: None,
        method: EDIT,
        params: |scene| changes([rename(scene, "a", "sub/renamed")]),
    },
    Job { name: "rename over", at_once: 1, before: None, method: EDIT, params: rename_over },
    Job { name: "delete", at_once: 1, before: None, method: EDIT, params: |scene| changes([delete(scene, "a")]) },
    FIVE_FILES,
    Job { name: "five files at once", at_once: 8, ..FIVE_FILES },
    Job { name: "hard link", at_once: 1, before: None, method: EDIT, params: |scene| changes([edit(scene, "linked")]) },
    WITH_HARD_LINK,
    Job {
        name: "undo",
        at_once: 1,
        before: Some(five_files),
        method: "ploke/undo",
        params: |_| json!({"origin": ORIGIN}),
    },
];

pub const FIVE_FILES: Job = Job { name: "five files", at_once: 1, before: None, method: EDIT, params: five_files };
pub const WITH_HARD_LINK: Job = Job {
    name: "three files, one with two links",
    at_once: 1,
    before: None,
    method: EDIT,
    params: |scene| changes([edit(scene, "a"), edit(scene, "linked"), delete(scene, "b")]),
};

const ORIGIN: &str = "00000000-0000-4000-8000-000000000001";

impl Job {
    /// The tree that all jobs begin with; a job may need more, see [`Job::prepare`].
    pub fn scene() -> Scene {
        let scene = Scene::new();
        for name in ["a", "b", "c", "d", "sub/e", "linked"] {
            scene.write(name, &old(name));
        }
        std::fs::hard_link(scene.path("linked"), scene.path("sub/other name")).unwrap();
        for (name, mode) in [("a", 0o600), ("b", 0o4755), ("linked", 0o6751)] {
            std::fs::set_permissions(scene.path(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        scene
    }

    /// Makes what the job begins with.
    pub fn prepare(&self, scene: &Scene, session: &mut Session) {
        if let Some(before) = self.before {
            let result = session.ask(EDIT, &before(scene)).expect("an answer");
            assert_eq!(result["applied"], true, "{result}");
        }
    }

    /// See [`Session::try_to_ask`].
    pub fn ask(&self, scene: &Scene, session: &mut Session) -> Result<Option<Value>, String> {
        session.try_to_ask(self.method, &(self.params)(scene))
    }

    /// The trees before and after it.
    pub fn trees(&self) -> (Tree, Tree) {
        let scene = Self::scene();
        let mut session = scene.start();
        self.prepare(&scene, &mut session);
        let before = scene.tree();
        let result = self.ask(&scene, &mut session).unwrap().expect("an answer");
        assert_eq!(result["applied"], true, "{}: {result}", self.name);
        assert_eq!(result["durability"], "full", "{}: {result}", self.name);
        session.end();
        let after = scene.tree();
        assert_ne!(before, after, "{}", self.name);
        assert_eq!(scene.debris(), Vec::<String>::new(), "{}", self.name);
        (before, after)
    }
}

/// More than one page, so that a torn write would show.
fn old(name: &str) -> String {
    format!("old content of {name}\n").repeat(1000)
}

fn five_files(scene: &Scene) -> Value {
    let mut params = changes([
        edit(scene, "a"),
        edit(scene, "b"),
        create(scene, "made/new"),
        rename(scene, "d", "sub/renamed"),
        delete(scene, "sub/e"),
    ]);
    params["origin"] = json!(ORIGIN);
    params
}

fn rename_over(scene: &Scene) -> Value {
    let mut params = changes([rename(scene, "a", "b")]);
    params["documentChanges"][0]["options"] = json!({"overwrite": true});
    params["expected"] = json!({scene.uri("b"): {"contentHash": hash(&old("b"))}});
    params
}

fn changes<const N: usize>(changes: [Value; N]) -> Value {
    json!({"documentChanges": changes.to_vec()})
}

fn edit(scene: &Scene, name: &str) -> Value {
    let edits = [
        json!({"range": {"startByte": 0, "endByte": 3}, "newText": "a new"}),
        json!({"range": {"startByte": 5000, "endByte": 9000}, "newText": "shorter"}),
    ];
    json!({"textDocument": {"uri": scene.uri(name)}, "expected": guard(name), "edits": edits})
}

fn create(scene: &Scene, name: &str) -> Value {
    json!({"kind": "create", "uri": scene.uri(name), "text": old(name), "options": {"createParents": true}})
}

fn rename(scene: &Scene, from: &str, to: &str) -> Value {
    json!({"kind": "rename", "oldUri": scene.uri(from), "newUri": scene.uri(to), "expected": guard(from)})
}

fn delete(scene: &Scene, name: &str) -> Value {
    json!({"kind": "delete", "uri": scene.uri(name), "expected": guard(name)})
}

fn guard(name: &str) -> Value {
    json!({"contentHash": hash(&old(name))})
}
