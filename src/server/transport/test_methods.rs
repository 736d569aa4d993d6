//! Requests that only tests know, and gates that hold them up.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Condvar, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::{
    events::{FileChangeEvent, FileEventKind},
    protocol::FileChange,
    server::{
        method::{Call, Method, Reply, RpcError},
        routes::Route,
    },
};

pub(super) const TEST_ROUTES: &[Route] = &[
    Route::to::<Echo>(),
    Route::to::<Gated>(),
    Route::to::<Write>(),
    Route::to::<Big>(),
    Route::to::<Fails>(),
    Route::to::<Panics>(),
    Route::to::<PanicsWhenEncoded>(),
];

/// Answers with its params' value.
pub(super) struct Echo;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EchoParams {
    #[serde(default)]
    value: Value,
}

impl Method for Echo {
    const NAME: &'static str = "test/echo";
    type Params = EchoParams;
    type Result = Value;

    fn run(_: &Call, params: EchoParams) -> Result<Reply<Value>, RpcError> {
        Ok(params.value.into())
    }
}

#[derive(Deserialize)]
pub(super) struct GateParams {
    gate: String,
}

/// Waits in front of a gate like a long read: it does not notice that it is cancelled.
pub(super) struct Gated;

impl Method for Gated {
    const NAME: &'static str = "test/gated";
    type Params = GateParams;
    type Result = &'static str;

    fn run(_: &Call, params: GateParams) -> Result<Reply<&'static str>, RpcError> {
        gate(&params.gate).pass();
        Ok("passed".into())
    }
}

/// Passes its commit point, waits in front of a gate, and has changed two files then.
pub(super) struct Write;

impl Method for Write {
    const NAME: &'static str = "test/write";
    type Params = GateParams;
    type Result = &'static str;

    fn run(call: &Call, params: GateParams) -> Result<Reply<&'static str>, RpcError> {
        if !call.cancel.begin_commit() {
            return Err(RpcError::cancelled());
        }
        gate(&params.gate).pass();
        Ok(Reply { result: "written", changes: vec![change("/r/a"), change("/r/b")] })
    }
}

/// Answers with a text of so many bytes, and counts how often it was asked.
pub(super) struct Big;

#[derive(Deserialize)]
pub(super) struct BigParams {
    bytes: usize,
    gate: String,
}

impl Method for Big {
    const NAME: &'static str = "test/big";
    type Params = BigParams;
    type Result = String;

    fn run(_: &Call, params: BigParams) -> Result<Reply<String>, RpcError> {
        gate(&params.gate).pass();
        Ok("x".repeat(params.bytes).into())
    }
}

/// Says how often it was asked, as an error.
pub(super) struct Fails;

impl Method for Fails {
    const NAME: &'static str = "test/fails";
    type Params = EchoParams;
    type Result = ();

    fn run(_: &Call, _: EchoParams) -> Result<Reply<()>, RpcError> {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        Err(RpcError::invalid_params(format!("asked {}", ASKED.fetch_add(1, SeqCst) + 1)))
    }
}

pub(super) struct Panics;

impl Method for Panics {
    const NAME: &'static str = "test/panics";
    type Params = EchoParams;
    type Result = ();

    fn run(_: &Call, _: EchoParams) -> Result<Reply<()>, RpcError> {
        panic!("as the test wants it")
    }
}

/// Changes a file, and panics when that is to be told.
pub(super) struct PanicsWhenEncoded;

pub(super) struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("as the test wants it")
    }
}

impl Method for PanicsWhenEncoded {
    const NAME: &'static str = "test/panicsWhenEncoded";
    type Params = EchoParams;
    type Result = Unencodable;

    fn run(_: &Call, _: EchoParams) -> Result<Reply<Unencodable>, RpcError> {
        Ok(Reply { result: Unencodable, changes: vec![change("/r/a")] })
    }
}

pub(super) fn change(path: &str) -> FileChange {
    FileChange::from(FileChangeEvent {
        path: PathBuf::from(path),
        kind: FileEventKind::Modified,
        old_path: None,
        content_hash: None,
        directory: false,
        origin: None,
        by: None,
    })
}

/// Holds up whoever comes until it is opened, and tells how many have come.
#[derive(Default)]
pub(super) struct Gate {
    come: AtomicUsize,
    open: Mutex<bool>,
    changed: Condvar,
}

/// The gate with this name; every test has names of its own.
pub(super) fn gate(name: &str) -> Arc<Gate> {
    static GATES: LazyLock<Mutex<HashMap<String, Arc<Gate>>>> = LazyLock::new(Mutex::default);
    GATES.lock().unwrap().entry(name.to_owned()).or_default().clone()
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// How many have come so far.
    pub fn come(&self) -> usize {
        self.come.load(SeqCst)
    }

    /// Waits until so many have come.
    pub fn wait_for(&self, count: usize) {
        let mut open = self.open.lock().unwrap();
        while self.come() < count {
            open = self.changed.wait(open).unwrap();
        }
    }

    fn pass(&self) {
        let mut open = self.open.lock().unwrap();
        self.come.fetch_add(1, SeqCst);
        self.changed.notify_all();
        while !*open {
            open = self.changed.wait(open).unwrap();
        }
    }
}
