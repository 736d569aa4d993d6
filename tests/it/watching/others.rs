//! Other sidecars, and times without any.

use std::fs;

use ploke_io::protocol::FileUri;
use serde_json::{Value, json};

use super::Watched;
use crate::support::{
    client::Client,
    connection::{Connection, binary_command},
};

#[test]
fn what_happened_while_no_sidecar_ran_is_told_from_the_clock_on() {
    let mut watched = Watched::new(json!({}), |root| {
        for name in ["kept", "written", "deleted", "moved", "same size"] {
            fs::write(root.join(name), "1").unwrap();
        }
    });
    fs::write(watched.root.join("before"), "told").unwrap();
    let clock = watched.request("ploke/changes", json!({}))["clock"].take();
    watched.sync();
    drop(watched.client.take());
    for (name, content) in [("written", "22"), ("same size", "2"), ("new", "3")] {
        fs::write(watched.root.join(name), content).unwrap();
    }
    fs::remove_file(watched.root.join("deleted")).unwrap();
    fs::rename(watched.root.join("moved"), watched.root.join("here")).unwrap();

    watched.start(json!({}));
    let answer = watched.request("ploke/changes", json!({ "since": clock }));
    assert_eq!(answer["freshInstance"], false);
    assert_eq!(
        lines(&watched, &answer),
        ["created here", "created new", "deleted deleted", "deleted moved", "modified same size", "modified written"]
    );
    let again = watched.request("ploke/changes", json!({ "since": answer["clock"] }));
    assert_eq!(again["changes"], json!([]));
}

#[test]
fn after_a_crash_nothing_is_left_out() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().canonicalize().unwrap().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), "1").unwrap();
    let start = || {
        let (connection, pid) = Connection::spawn(binary_command(home.path()));
        let patch = json!({ "initializationOptions": { "watch": { "enabled": true } } });
        let mut client = Client::new(connection, &root, &patch);
        client.request("ploke/sync", json!({}));
        (client, pid)
    };
    // One that ends in order saves what it knows.
    let (mut client, _) = start();
    let first = client.request("ploke/changes", json!({}))["clock"].take();
    drop(client);

    let (mut client, pid) = start();
    fs::write(root.join("b"), "1").unwrap();
    let unsaved = client.request("ploke/changes", json!({}))["clock"].take();
    client.next_notification("ploke/fileChanged");
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(client.close(), u8::MAX);
    fs::write(root.join("c"), "1").unwrap();

    fs::remove_file(root.join("b")).unwrap();

    let (mut client, _) = start();
    let mut told = |since: &Value| {
        let answer = client.request("ploke/changes", json!({ "since": since }));
        let name = |change: &Value| change["uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let mut names: Vec<_> = answer["changes"].as_array().unwrap().iter().map(name).collect();
        names.sort();
        (names, answer["freshInstance"] == true)
    };
    assert_eq!(told(&first), (vec!["c".to_owned()], false));
    assert_eq!(told(&unsaved), (vec!["a".to_owned(), "c".to_owned()], true), "nobody knows that b was there");
}

#[test]
fn a_damaged_index_begins_anew_and_says_so() {
    let mut watched = Watched::new(json!({}), |root| fs::write(root.join("a"), "1").unwrap());
    let clock = watched.request("ploke/changes", json!({}))["clock"].take();
    drop(watched.client.take());
    let state = watched.home.path().join("state/ploke-io/index");
    let saved = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let saved = saved.into_iter().find(|path| path.extension().is_some_and(|end| end == "index")).unwrap();
    let mut bytes = fs::read(&saved).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&saved, bytes).unwrap();
    watched.start(json!({}));
    let answer = watched.request("ploke/changes", json!({ "since": clock }));
    assert_eq!((&answer["freshInstance"], lines(&watched, &answer)), (&json!(true), vec!["created a".to_owned()]));
}

#[test]
fn a_change_made_through_another_sidecar_names_it() {
    let mut watched = Watched::new(json!({}), |root| fs::write(root.join("a"), "one").unwrap());
    let (connection, pid) = Connection::spawn(binary_command(watched.home.path()));
    let mut other = Client::new(
        connection,
        &watched.root,
        &json!({ "clientInfo": { "name": "another" }, "initializationOptions": { "watch": { "enabled": true } } }),
    );
    let uri = FileUri::from_path(&watched.root.join("a"));
    let edit = json!({ "textDocument": { "uri": uri }, "edits": [{ "expectedText": "one", "newText": "two" }] });
    let result = other.request("ploke/applyEdits", json!({ "documentChanges": [edit] }));
    assert_eq!(result["applied"], true);
    other.next_notification("ploke/fileChanged");
    watched.request("ploke/sync", json!({}));
    let note = watched.client.as_mut().unwrap().next_notification("ploke/fileChanged");
    let change = &note["changes"][0];
    assert_eq!((&change["requestId"], &change["origin"]), (&Value::Null, &result["origin"]));
    assert_eq!(change["by"], json!({ "client": "another", "pid": pid }));

    fs::write(watched.root.join("a"), "three").unwrap();
    watched.request("ploke/sync", json!({}));
    let note = watched.client.as_mut().unwrap().next_notification("ploke/fileChanged");
    assert_eq!((&note["changes"][0]["origin"], note["changes"][0].get("by")), (&Value::Null, None));
    other.request("ploke/sync", json!({}));
    other.next_notification("ploke/fileChanged");
}

fn lines(watched: &Watched, answer: &Value) -> Vec<String> {
    let line = |change: &Value| {
        let path = change["uri"].as_str().unwrap().parse::<FileUri>().unwrap().path().to_path_buf();
        let name = path.strip_prefix(&watched.root).unwrap().display().to_string();
        format!("{} {name}", change["kind"].as_str().unwrap())
    };
    let mut lines: Vec<_> = answer["changes"].as_array().unwrap().iter().map(line).collect();
    lines.sort();
    lines
}
