//! Many clients of many sidecars append lines to the same few files.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    scene::{Scene, say},
    support::{
        connection::{Connection, frame},
        peer::initialize_params,
        values::file_uri,
    },
};

const PROCESSES: usize = 8;
const CLIENTS: usize = 50;
const FILES: usize = 20;
/// Lines of all clients together, unless `PLOKE_IO_TEST_CROWD_LINES` says how many.
const LINES: usize = 10_000;

#[test]
fn of_many_clients_of_many_sidecars_every_acknowledged_line_is_there_once() {
    let begin = Instant::now();
    let lines = std::env::var("PLOKE_IO_TEST_CROWD_LINES").map_or(LINES, |lines| lines.parse().unwrap());
    let scene = Scene::new();
    for file in 0..FILES {
        scene.write(&name(file), "");
    }
    let next_line = AtomicUsize::new(0);
    let (acknowledged, retries) = thread::scope(|scope| {
        let sidecars: Vec<_> = (0..PROCESSES)
            .map(|process| {
                let clients = (process..CLIENTS).step_by(PROCESSES).count();
                let (scene, next_line) = (&scene, &next_line);
                scope.spawn(move || Sidecar::start(scene).serve(clients, next_line, lines))
            })
            .collect();
        let results = sidecars.into_iter().map(|sidecar| sidecar.join().unwrap());
        results.reduce(|(mut all, retries), (more, again)| {
            all.extend(more);
            (all, retries + again)
        })
    })
    .unwrap();

    assert_eq!(acknowledged.len(), lines);
    let mut times = BTreeMap::<String, usize>::new();
    for file in 0..FILES {
        for line in scene.read(&name(file)).lines() {
            *times.entry(line.to_owned()).or_default() += 1;
        }
    }
    let wrong: Vec<_> = acknowledged.iter().filter(|line| times.get(*line) != Some(&1)).collect();
    assert!(wrong.is_empty(), "acknowledged, but not there exactly once: {wrong:?}");
    assert_eq!(times.len(), lines, "lines nobody has acknowledged");
    assert_eq!(scene.debris(), Vec::<String>::new());
    say(&format!("{CLIENTS} clients, {PROCESSES} sidecars: {lines} lines, {retries} retries, {:?}", begin.elapsed()));
}

/// A line that a client wants to bring into a file.
struct Errand {
    file: usize,
    line: String,
}

/// What a client waits for.
enum Waiting {
    ForTheText(Errand),
    ForTheEdit(Errand),
}

struct Sidecar<'s> {
    scene: &'s Scene,
    connection: Connection,
    next_id: i64,
    waiting: BTreeMap<i64, Waiting>,
}

impl<'s> Sidecar<'s> {
    fn start(scene: &'s Scene) -> Self {
        let (connection, _) = Connection::spawn(scene.command());
        let mut sidecar = Self { scene, connection, next_id: 1, waiting: BTreeMap::new() };
        let patch = json!({"initializationOptions": {"durability": "bestEffort", "undo": {"keepBytes": 0}}});
        sidecar.send("initialize", &initialize_params(&file_uri(&scene.root), &patch));
        sidecar
    }

    /// Until there are no more lines: returns those that were acknowledged, and how often an edit was tried again.
    fn serve(mut self, clients: usize, next_line: &AtomicUsize, lines: usize) -> (Vec<String>, usize) {
        let (mut acknowledged, mut retries) = (Vec::new(), 0);
        for _ in 0..clients {
            self.next_errand(next_line, lines);
        }
        while !self.waiting.is_empty() {
            let message = self.connection.next_message().unwrap().expect("it runs while it is asked");
            let Some(waiting) = message["id"].as_i64().and_then(|id| self.waiting.remove(&id)) else { continue };
            let result = &message["result"];
            match waiting {
                Waiting::ForTheText(errand) => self.append(errand, &result["snippets"][0]),
                Waiting::ForTheEdit(errand) if result["applied"] == true => {
                    acknowledged.push(errand.line);
                    self.next_errand(next_line, lines);
                }
                Waiting::ForTheEdit(errand) => {
                    let error = &result["files"][0]["error"]["kind"];
                    assert!(error == "contentMismatch" || error == "locked", "{message}");
                    retries += 1;
                    self.read(errand);
                }
            }
        }
        self.connection.close_input();
        while self.connection.next_message().unwrap().is_some() {}
        self.connection.exit_code().unwrap();
        (acknowledged, retries)
    }

    fn next_errand(&mut self, next_line: &AtomicUsize, lines: usize) {
        let number = next_line.fetch_add(1, Relaxed);
        if number < lines {
            // Neighbours in different files, and all files in different orders.
            let file = (number * 7 + number / FILES) % FILES;
            self.read(Errand { file, line: format!("line {number}") });
        }
    }

    fn read(&mut self, errand: Errand) {
        let params = json!({"snippets": [{"uri": self.scene.uri(&name(errand.file))}]});
        let id = self.send("ploke/snippets", &params);
        self.waiting.insert(id, Waiting::ForTheText(errand));
    }

    fn append(&mut self, errand: Errand, snippet: &Value) {
        let end = &snippet["byteRange"]["endByte"];
        let edits = [json!({"range": {"startByte": end, "endByte": end}, "newText": format!("{}\n", errand.line)})];
        let document = json!({"uri": self.scene.uri(&name(errand.file))});
        let expected = json!({"contentHash": snippet["contentHash"]});
        let changes = [json!({"textDocument": document, "expected": expected, "edits": edits})];
        let id = self.send("ploke/applyEdits", &json!({"documentChanges": changes}));
        self.waiting.insert(id, Waiting::ForTheEdit(errand));
    }

    fn send(&mut self, method: &str, params: &Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.connection.send(&frame(message.to_string().as_bytes())).unwrap();
        id
    }
}

fn name(file: usize) -> String {
    format!("file-{file}")
}
