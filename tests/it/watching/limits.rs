//! A system that lets nobody watch enough.

use std::{fs, process::Command};

use serde_json::json;

use crate::support::{
    client::Client,
    connection::{Connection, binary_command},
    values::file_uri,
};

/// The limit of a user namespace of its own, so that no other process misses a watch.
const LIMITED: &str = r#"echo 3 >/proc/sys/user/max_inotify_watches && exec "$0" "$@""#;

#[test]
fn out_of_watches_the_user_is_told_and_nothing_is_missed() {
    let limited = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", LIMITED, program]);
        command
    };
    if !limited("true").status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no user namespace with a limit of its own can be made here");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let root = home.path().canonicalize().unwrap().join("root");
    let directories: Vec<_> = (0..6).map(|number| root.join(number.to_string())).collect();
    directories.iter().for_each(|directory| fs::create_dir_all(directory).unwrap());
    let plain = binary_command(home.path());
    let mut command = limited(plain.get_program().to_str().unwrap());
    command.args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let watch = json!({ "initializationOptions": { "watch": { "enabled": true } } });
    let mut client = Client::new(Connection::spawn(command).0, &root, &watch);

    let message = client.next_notification("window/showMessage");
    let text = message["message"].as_str().unwrap();
    assert!(text.contains("4 of 7 directories are polled") && text.contains("max_user_watches"), "{text}");
    client.request("ploke/sync", json!({}));
    let status = client.request("ploke/status", json!({}))["watch"].take();
    assert_eq!((&status["state"], &status["watches"]), (&json!("watching"), &json!(3)), "{status}");
    assert!(text.ends_with(status["reason"].as_str().unwrap()), "{status}");

    for directory in &directories {
        fs::write(directory.join("new"), "new").unwrap();
    }
    let last = client.request("ploke/sync", json!({}))["seq"].as_u64().unwrap();
    let mut told = Vec::new();
    for seq in 1..=last {
        let note = client.next_notification("ploke/fileChanged");
        assert_eq!(note["seq"], seq);
        told.extend(
            note["changes"].as_array().unwrap().iter().map(|change| change["uri"].as_str().unwrap().to_owned()),
        );
    }
    told.sort();
    let made: Vec<_> = directories.iter().map(|directory| file_uri(&directory.join("new"))).collect();
    assert_eq!(told, made);
}
