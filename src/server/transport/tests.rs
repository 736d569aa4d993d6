use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};

use super::{Setup, in_flight::Limits, test_client::TestClient, test_methods::gate};
use crate::{
    protocol::InitializationOptions,
    server::{ServerOptions, errors::code},
};

fn client() -> TestClient {
    TestClient::initialized(Setup::test())
}

fn deep(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

#[test]
fn messages_that_can_not_be_understood_are_answered_and_the_session_goes_on() {
    let (unfinished, deep) = ("[".repeat(10_000), deep(10_000));
    let cases: [(&[u8], i64); 9] = [
        (b"garbage", code::PARSE_ERROR),
        (b"", code::PARSE_ERROR),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", code::PARSE_ERROR),
        (unfinished.as_bytes(), code::PARSE_ERROR),
        (deep.as_bytes(), code::INVALID_REQUEST),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"test/echo"}]"#, code::INVALID_REQUEST),
        (br#"{"jsonrpc":"2.0","id":1.0,"method":"test/echo"}"#, code::INVALID_REQUEST),
        (br#"{"jsonrpc":"2.0","id":[1],"method":"test/echo"}"#, code::INVALID_REQUEST),
        (br#"{"jsonrpc":"2.0","id":9223372036854775808,"method":"test/echo"}"#, code::INVALID_REQUEST),
    ];
    let mut client = client();
    for (body, code) in cases {
        client.send_body(body);
        assert_eq!(client.error(Value::Null).0, code, "{}", String::from_utf8_lossy(body));
    }
    client.assert_alive();
}

#[test]
fn an_invalid_request_with_a_valid_id_is_answered_with_it() {
    let mut client = client();
    client.send(json!({ "id": "x", "method": "test/echo" }));
    assert_eq!(client.error("x").0, code::INVALID_REQUEST);
    client.assert_alive();
}

#[test]
fn framing_that_can_not_be_followed_ends_the_session_with_an_error() {
    let long_header = format!("X: {}\r\n\r\n", "y".repeat(5000));
    for bytes in [
        "Content-Type: none\r\n\r\n{}",
        "Content-Length: many\r\n\r\n{}",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "{\"jsonrpc\":\"2.0\"}\n",
        &long_header,
    ] {
        let mut client = client();
        client.request(json!(1), "test/echo", json!({ "value": 1 }));
        client.send_raw(bytes.as_bytes());
        let mut answers = client.rest();
        answers.sort_by_key(|answer| answer["id"].is_null());
        let [echo, error] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(echo["result"], 1);
        assert_eq!((error["error"]["code"].as_i64(), &error["id"]), (Some(code::PARSE_ERROR), &Value::Null));
        assert_eq!(client.exit_code(), 1);
    }
}

#[test]
fn broken_framing_is_a_failure_even_after_shutdown() {
    let mut client = client();
    client.request(json!(1), "shutdown", Value::Null);
    assert_eq!(client.result(1), Value::Null);
    client.send_raw(b"\r\n");
    assert_eq!(client.error(Value::Null).0, code::PARSE_ERROR);
    assert_eq!(client.exit_code(), 1);
}

#[test]
fn a_content_length_that_lies_breaks_what_follows() {
    let mut client = client();
    client.send_raw(b"Content-Length: 3\r\n\r\n{\"jsonrpc\":\"2.0\"}Content-Length: 2\r\n\r\n{}");
    assert_eq!(client.error(Value::Null).0, code::PARSE_ERROR);
    assert_eq!(client.error(Value::Null).0, code::PARSE_ERROR);
    assert_eq!(client.exit_code(), 1);
}

#[test]
fn a_body_over_the_limit_is_refused_and_passed_over() {
    let defaults = serde_json::from_value::<InitializationOptions>(json!({ "limits": { "maxMessageBytes": 1024 } }));
    let mut client =
        TestClient::start(Setup::test(), ServerOptions { defaults: defaults.unwrap(), ..ServerOptions::default() });
    let long = json!({ "jsonrpc": "2.0", "id": 1, "method": "test/echo", "params": { "value": "x".repeat(2000) } });
    client.send(long.clone());
    let (code, message) = client.error(Value::Null);
    assert_eq!(code, code::INVALID_REQUEST);
    assert!(message.contains("limit of 1024 bytes"), "{message}");

    let options = json!({ "limits": { "maxMessageBytes": 3000 } });
    client.request(json!(2), "initialize", json!({ "capabilities": {}, "initializationOptions": options }));
    client.result(2);
    client.send(long);
    assert_eq!(client.result(1).as_str().map(str::len), Some(2000));
    client.send_body(&[b'x'; 3001]);
    assert_eq!(client.error(Value::Null).0, code::INVALID_REQUEST);
    client.assert_alive();
}

#[test]
fn nothing_but_initialize_is_answered_before_it() {
    let mut client = TestClient::start(Setup::test(), ServerOptions::default());
    for method in ["test/echo", "shutdown", "unknown", "$/unknown"] {
        client.request(json!(1), method, json!({}));
        assert_eq!(client.error(1).0, code::NOT_INITIALIZED, "{method}");
    }
    client.notify("textDocument/didOpen", json!({}));
    client.request(json!(2), "initialize", json!({ "capabilities": {} }));
    client.result(2);
    client.assert_alive();
}

#[test]
fn initialize_answers_with_what_the_server_can_do() {
    let mut client = TestClient::start(Setup::test(), ServerOptions::default());
    let capabilities = json!({ "general": { "positionEncodings": ["utf-16", "utf-8"] } });
    client.request(json!(1), "initialize", json!({ "processId": null, "rootUri": null, "capabilities": capabilities }));
    let result = client.result(1);
    assert_eq!(result["serverInfo"], json!({ "name": "ploke-io", "version": env!("CARGO_PKG_VERSION") }));
    let capabilities = &result["capabilities"];
    assert_eq!(capabilities["positionEncoding"], "utf-8");
    assert_eq!(
        capabilities["textDocumentSync"],
        json!({ "openClose": true, "change": 2, "save": { "includeText": true } })
    );
    assert_eq!(
        capabilities["workspace"],
        json!({ "workspaceFolders": { "supported": true, "changeNotifications": true } })
    );
    let methods = ["echo", "gated", "write", "big", "panics", "panicsWhenEncoded"].map(|name| format!("test/{name}"));
    assert_eq!(
        capabilities["experimental"]["ploke"],
        json!({ "protocol": 1, "methods": methods, "notifications": ["ploke/fileChanged"], "openBuffers": true })
    );
}

#[test]
fn a_failed_initialize_names_the_wrong_field_and_can_be_repeated() {
    let mut client = TestClient::start(Setup::test(), ServerOptions::default());
    for (params, field) in [
        (json!({ "capabilities": {}, "initializationOptions": { "limit": {} } }), "initializationOptions.limit: "),
        (json!({ "capabilities": {}, "workspaceFolders": [{ "uri": 1, "name": "x" }] }), "workspaceFolders[0].uri: "),
        (json!({}), "capabilities"),
        (json!([]), "params"),
    ] {
        client.request(json!(1), "initialize", params);
        let (code, message) = client.error(1);
        assert_eq!(code, code::INVALID_PARAMS);
        assert!(message.contains(field), "{message}");
    }
    client.send(json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize" }));
    assert_eq!(client.error(1).0, code::INVALID_PARAMS);
    client.request(json!(1), "initialize", json!({ "capabilities": {} }));
    client.result(1);
    client.assert_alive();
}

#[test]
fn a_second_initialize_is_refused() {
    let mut client = client();
    client.request(json!(1), "initialize", json!({ "capabilities": {} }));
    assert_eq!(client.error(1).0, code::INVALID_REQUEST);
    client.assert_alive();
}

#[test]
fn everything_after_shutdown_is_refused() {
    let mut client = client();
    client.send(json!({ "jsonrpc": "2.0", "id": 1, "method": "shutdown" }));
    assert_eq!(client.result(1), Value::Null);
    for method in ["test/echo", "shutdown", "initialize", "unknown"] {
        client.request(json!(2), method, json!({}));
        assert_eq!(client.error(2).0, code::INVALID_REQUEST, "{method}");
    }
    client.notify("exit", Value::Null);
    assert_eq!(client.exit_code(), 0);
}

#[test]
fn unknown_requests_are_told_and_unknown_notifications_are_not() {
    let mut client = client();
    for method in ["unknown", "$/unknown", "textDocument/hover", "$/cancelRequest", "exit", "initialized"] {
        client.request(json!(1), method, json!({}));
        assert_eq!(client.error(1).0, code::METHOD_NOT_FOUND, "{method}");
    }
    for method in ["unknown", "$/unknown", "test/panics", "shutdown", "initialize"] {
        client.notify(method, json!({}));
    }
    client.assert_alive();
}

#[test]
fn wrong_params_are_refused_by_their_path() {
    let mut client = client();
    for (params, text) in [
        (json!({ "vallue": 1 }), "vallue: unknown field"),
        (json!([1]), "params must be an object"),
        (serde_json::from_str(&format!("{{\"value\":{}}}", deep(100))).unwrap(), ""),
    ] {
        client.request(json!(1), "test/echo", params);
        if text.is_empty() {
            client.result(1);
        } else {
            let (code, message) = client.error(1);
            assert_eq!(code, code::INVALID_PARAMS);
            assert!(message.contains(text), "{message}");
        }
    }
    client.send_body(
        format!(r#"{{"jsonrpc":"2.0","id":2,"method":"test/echo","params":{{"value":{}}}}}"#, deep(10_000)).as_bytes(),
    );
    assert_eq!(client.error(2).0, code::INVALID_PARAMS);
    client.assert_alive();
}

#[test]
fn absent_params_are_an_empty_object() {
    let mut client = client();
    client.send(json!({ "jsonrpc": "2.0", "id": null, "method": "test/echo" }));
    assert_eq!(client.result(Value::Null), Value::Null);
    client.request(json!(1), "test/echo", Value::Null);
    assert_eq!(client.result(1), Value::Null);
}

#[test]
fn malformed_notifications_and_responses_nobody_waits_for_are_ignored() {
    let mut client = client();
    client.notify("textDocument/didOpen", json!({ "nonsense": true }));
    client.notify("workspace/didChangeWorkspaceFolders", json!(null));
    client.notify("$/cancelRequest", json!({ "id": 1.0 }));
    client.notify("$/cancelRequest", json!({}));
    client.notify("$/cancelRequest", json!({ "id": "not in flight" }));
    client.send(json!({ "jsonrpc": "2.0", "id": 7, "result": null }));
    client.send(json!({ "jsonrpc": "2.0", "id": null, "error": { "code": 1, "message": "?" } }));
    client.send(json!({ "jsonrpc": "2.0", "id": 7, "error": "malformed" }));
    client.assert_alive();
}

#[test]
fn an_id_can_not_be_in_flight_twice() {
    let mut client = client();
    client.request(json!(1), "test/gated", json!({ "gate": "twice" }));
    client.request(json!(1), "test/echo", json!({}));
    assert_eq!(client.error(1).0, code::INVALID_REQUEST);
    client.request(json!("1"), "test/echo", json!({ "value": "another id" }));
    assert_eq!(client.result("1"), "another id");
    gate("twice").open();
    assert_eq!(client.result(1), "passed");
    client.request(json!(1), "test/echo", json!({}));
    assert_eq!(client.result(1), Value::Null);
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_once_each() {
    const COUNT: usize = 10_000;
    let mut client = client();
    let mut to_server = client.clone_input();
    let writer = thread::spawn(move || {
        for id in 0..COUNT {
            let body = json!({ "jsonrpc": "2.0", "id": id, "method": "test/echo", "params": { "value": id } });
            write!(to_server, "Content-Length: {}\r\n\r\n{body}", body.to_string().len()).unwrap();
        }
    });
    let mut seen = vec![false; COUNT];
    for _ in 0..COUNT {
        let message = client.receive();
        let id = usize::try_from(message["id"].as_u64().unwrap()).unwrap();
        assert_eq!(message["result"], id);
        assert!(!std::mem::replace(&mut seen[id], true), "{id} was answered twice");
    }
    writer.join().unwrap();
    let stats = client.dispatch.connection.metrics.snapshot()["test/echo"];
    assert_eq!((stats.count, stats.errors), (COUNT as u64, 0));
}

#[test]
fn a_client_that_does_not_read_stops_the_work_until_it_reads_again() {
    const COUNT: usize = 200;
    const BYTES: usize = 256 * 1024;
    let limits = Limits { running: 4, ..Setup::default().limits };
    let mut client = TestClient::initialized(Setup { limits, outbox_bytes: 4 * BYTES, ..Setup::test() });
    gate("deaf").open();
    for id in 0..COUNT {
        client.request(json!(id), "test/big", json!({ "gate": "deaf", "bytes": BYTES }));
    }
    while client.dispatch.connection.outbox.has_room() {
        thread::yield_now();
    }
    // What the queue and the socket hold, and what ran when the queue became full.
    let begun = gate("deaf").come();
    assert!(begun <= 16, "{begun} requests were begun for a client that does not read");
    let mut ids: Vec<_> = (0..COUNT).map(|_| client.receive()["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..COUNT as u64));
    client.assert_alive();
}

#[test]
fn refusals_for_a_client_that_does_not_read_are_bounded_too() {
    let mut client = TestClient::initialized(Setup { outbox_bytes: 10_000, ..Setup::test() });
    let mut to_server = client.clone_input();
    let writer = thread::spawn(move || {
        for _ in 0..20_000 {
            to_server.write_all(b"Content-Length: 7\r\n\r\ngarbage").unwrap();
        }
    });
    while client.dispatch.connection.outbox.has_room() {
        thread::yield_now();
    }
    for _ in 0..20_000 {
        assert_eq!(client.error(Value::Null).0, code::PARSE_ERROR);
    }
    writer.join().unwrap();
    client.assert_alive();
}

#[test]
fn reading_stops_while_too_much_waits_and_then_goes_on() {
    const COUNT: usize = 100;
    let limits = Limits { running: 1, waiting_bytes: 20_000, ..Setup::default().limits };
    let mut client = TestClient::initialized(Setup { limits, ..Setup::test() });
    client.request(json!("first"), "test/gated", json!({ "gate": "narrow" }));
    gate("narrow").wait_for(1);
    let mut to_server = client.clone_input();
    let writer = thread::spawn(move || {
        for id in 0..COUNT {
            let params = json!({ "value": "x".repeat(10_000) });
            let body = json!({ "jsonrpc": "2.0", "id": id, "method": "test/echo", "params": params }).to_string();
            write!(to_server, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    client.dispatch.wait_until_full();
    gate("narrow").open();
    assert_eq!(client.result("first"), "passed");
    for id in 0..COUNT {
        client.result(id);
    }
    writer.join().unwrap();
}

#[test]
fn requests_beyond_those_that_may_run_wait_in_order() {
    let mut client = TestClient::initialized(Setup::running(1));
    client.request(json!("first"), "test/gated", json!({ "gate": "order" }));
    for id in 0..50 {
        client.request(json!(id), "test/echo", json!({}));
    }
    gate("order").open();
    client.result("first");
    for id in 0..50 {
        client.result(id);
    }
}

#[test]
fn as_many_requests_run_at_once_as_may() {
    let mut client = client();
    for id in 0..256 {
        client.request(json!(id), "test/gated", json!({ "gate": "many" }));
    }
    gate("many").wait_for(256);
    client.request(json!("waits"), "test/gated", json!({ "gate": "many" }));
    client.cancel(json!("waits"));
    assert_eq!(client.error("waits").0, code::REQUEST_CANCELLED);
    gate("many").open();
    for _ in 0..256 {
        assert_eq!(client.receive()["result"], "passed");
    }
    assert_eq!(gate("many").come(), 256);
}

#[test]
fn a_cancel_is_acted_on_while_64_requests_run() {
    let mut client = client();
    for id in 0..64 {
        client.request(json!(id), "test/gated", json!({ "gate": "cancel-64" }));
    }
    gate("cancel-64").wait_for(64);
    client.cancel(json!(33));
    assert_eq!(client.error(33).0, code::REQUEST_CANCELLED);
    // Its id is free again although its handler has not noticed.
    client.request(json!(33), "test/echo", json!({ "value": "again" }));
    assert_eq!(client.result(33), "again");
    client.cancel(json!(33));
    gate("cancel-64").open();
    client.end_input();
    let mut ids: Vec<_> = client.rest().iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq((0..64).filter(|id| *id != 33)), "each of the others is answered once");
}

#[test]
fn a_request_that_waits_is_cancelled_without_ever_running() {
    let mut client = TestClient::initialized(Setup::running(1));
    client.request(json!(1), "test/gated", json!({ "gate": "cancel-waiting" }));
    client.request(json!(2), "test/write", json!({ "gate": "cancel-waiting-write" }));
    client.cancel(json!(2));
    assert_eq!(client.error(2).0, code::REQUEST_CANCELLED);
    gate("cancel-waiting").open();
    client.result(1);
    client.assert_alive();
    assert_eq!(gate("cancel-waiting-write").come(), 0);
}

#[test]
fn a_write_that_has_begun_is_not_cancelled() {
    let mut client = client();
    client.request(json!(1), "test/write", json!({ "gate": "cancel-write" }));
    gate("cancel-write").wait_for(1);
    client.cancel(json!(1));
    client.assert_alive();
    gate("cancel-write").open();
    assert_eq!(client.receive()["method"], "ploke/fileChanged");
    assert_eq!(client.result(1), "written");
}

#[test]
fn changes_are_told_right_before_the_response_and_counted() {
    let mut client = client();
    gate("changes").open();
    for id in 0..100 {
        client.request(json!(id), "test/write", json!({ "gate": "changes" }));
        client.request(json!(id + 1000), "test/echo", json!({}));
    }
    let (mut seq, mut answered, mut told) = (0, 0, false);
    while answered < 100 {
        let message = client.receive();
        if message["method"] == "ploke/fileChanged" {
            seq += 1;
            assert_eq!(message["params"]["seq"], seq);
            assert_eq!(message["params"]["changes"].as_array().map(Vec::len), Some(2));
            told = true;
        } else if message["result"] == "written" {
            assert!(std::mem::take(&mut told), "nothing between the notification and its response");
            answered += 1;
        } else {
            assert!(!told, "nothing between the notification and its response");
        }
    }
    assert_eq!(client.dispatch.connection.outbox.last_seq(), 100);
}

#[test]
fn a_panic_is_an_internal_error_that_names_the_method() {
    let mut client = client();
    client.request(json!(1), "test/panics", json!({}));
    let (code, message) = client.error(1);
    assert_eq!(code, code::INTERNAL_ERROR);
    assert!(message.contains("test/panics"), "{message}");
    client.assert_alive();
}

#[test]
fn a_panic_while_encoding_still_tells_what_was_changed() {
    let mut client = client();
    client.request(json!(1), "test/panicsWhenEncoded", json!({}));
    assert_eq!(client.receive()["method"], "ploke/fileChanged");
    let (code, message) = client.error(1);
    assert_eq!(code, code::INTERNAL_ERROR);
    assert!(message.contains("test/panicsWhenEncoded"), "{message}");
    client.assert_alive();
}

#[test]
fn shutdown_is_answered_after_everything_before_it() {
    let mut client = TestClient::initialized(Setup::running(2));
    client.request(json!(1), "test/write", json!({ "gate": "shutdown" }));
    client.request(json!(2), "test/gated", json!({ "gate": "shutdown" }));
    client.request(json!(3), "test/echo", json!({}));
    client.request(json!(4), "shutdown", Value::Null);
    client.request(json!(5), "test/write", json!({ "gate": "shutdown" }));
    assert_eq!(client.error(5).0, code::INVALID_REQUEST);
    client.cancel(json!(4));
    gate("shutdown").open();
    let mut ids: Vec<_> = (0..4).map(|_| client.receive()["id"].clone()).filter(|id| !id.is_null()).collect();
    ids.sort_unstable_by_key(Value::as_u64);
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(client.result(4), Value::Null);
    assert_eq!(gate("shutdown").come(), 2, "no write has begun after it");
    client.notify("exit", Value::Null);
    assert_eq!(client.exit_code(), 0);
}

#[test]
fn exit_ends_the_session_although_input_stays_open() {
    let mut client = client();
    client.notify("exit", Value::Null);
    assert_eq!(client.exit_code(), 1);
    assert_eq!(client.rest(), [] as [Value; 0]);

    let mut uninitialized = TestClient::start(Setup::test(), ServerOptions::default());
    uninitialized.notify("exit", Value::Null);
    assert_eq!(uninitialized.exit_code(), 1);
}

#[test]
fn exit_finishes_writes_that_have_begun_and_nothing_else() {
    let mut client = TestClient::initialized(Setup::running(2));
    client.request(json!("write"), "test/write", json!({ "gate": "exit-write" }));
    client.request(json!("read"), "test/gated", json!({ "gate": "exit-never-opened" }));
    gate("exit-write").wait_for(1);
    gate("exit-never-opened").wait_for(1);
    client.request(json!("waits"), "test/write", json!({ "gate": "exit-waits" }));
    client.request(json!("bye"), "shutdown", Value::Null);
    client.notify("exit", Value::Null);
    assert_eq!(client.error("read").0, code::REQUEST_CANCELLED);
    gate("exit-write").open();
    assert_eq!(client.receive()["method"], "ploke/fileChanged");
    assert_eq!(client.result("write"), "written");
    assert_eq!(client.rest(), [] as [Value; 0]);
    assert_eq!(client.exit_code(), 0);
    assert_eq!(gate("exit-waits").come(), 0);
}

#[test]
fn exit_ends_the_session_although_the_client_does_not_read() {
    let patience = std::time::Duration::from_millis(1);
    let mut client = TestClient::initialized(Setup { patience, ..Setup::test() });
    gate("exit-deaf").open();
    client.request(json!(1), "test/big", json!({ "gate": "exit-deaf", "bytes": 4 * 1024 * 1024 }));
    while client.dispatch.connection.outbox.bytes_taken() < 64 * 1024 {
        thread::yield_now();
    }
    client.notify("exit", Value::Null);
    assert_eq!(client.exit_code(), 1);
}

#[test]
fn end_of_input_carries_out_everything_that_was_received() {
    let mut client = TestClient::initialized(Setup::running(1));
    client.request(json!(1), "test/write", json!({ "gate": "end" }));
    for id in 2..20 {
        client.request(json!(id), "test/echo", json!({}));
    }
    gate("end").wait_for(1);
    client.end_input();
    gate("end").open();
    assert_eq!(client.receive()["method"], "ploke/fileChanged");
    assert_eq!(client.result(1), "written");
    for id in 2..20 {
        client.result(id);
    }
    assert_eq!(client.try_receive(), None);
    assert_eq!(client.exit_code(), 1, "there was no shutdown");
}

#[test]
fn end_of_input_after_shutdown_is_a_success() {
    let mut client = client();
    client.request(json!(1), "shutdown", Value::Null);
    client.end_input();
    assert_eq!(client.result(1), Value::Null);
    assert_eq!(client.exit_code(), 0);
}

#[test]
fn end_of_input_within_a_message_ends_the_session() {
    let mut client = client();
    client.send_raw(b"Content-Length: 100\r\n\r\n{\"jsonrpc\":");
    client.end_input();
    assert_eq!(client.exit_code(), 1);
    assert_eq!(client.rest(), [] as [Value; 0]);
}

#[test]
fn work_goes_on_to_its_end_when_the_client_has_gone() {
    let mut client = TestClient::initialized(Setup { outbox_bytes: 1000, ..Setup::running(1) });
    client.request(json!(1), "test/gated", json!({ "gate": "gone-first" }));
    for id in 2..10 {
        client.request(json!(id), "test/big", json!({ "gate": "gone", "bytes": 100_000 }));
    }
    gate("gone-first").wait_for(1);
    client.stop_listening();
    gate("gone-first").open();
    gate("gone").open();
    gate("gone").wait_for(8);
    client.end_input();
    assert_eq!(client.exit_code(), 1);
}

#[test]
fn the_death_of_the_clients_process_is_the_end_of_input() {
    let mut process = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut client = TestClient::start(Setup::test(), ServerOptions::default());
    client.request(json!(0), "initialize", json!({ "processId": process.id(), "capabilities": {} }));
    client.result(0);
    client.request(json!(1), "test/write", json!({ "gate": "death" }));
    gate("death").wait_for(1);
    drop(process.stdin.take());
    while !client.dispatch.has_ended() {
        thread::yield_now();
    }
    gate("death").open();
    assert_eq!(client.receive()["method"], "ploke/fileChanged");
    assert_eq!(client.result(1), "written");
    assert_eq!(client.exit_code(), 1);
    process.wait().unwrap();
}

#[test]
fn a_client_that_traces_is_told_about_each_request() {
    let mut client = client();
    client.notify("$/setTrace", json!({ "value": "messages" }));
    client.request(json!(1), "test/echo", json!({ "value": "not told" }));
    client.result(1);
    let trace = client.receive();
    assert_eq!(trace["method"], "$/logTrace");
    let message = trace["params"]["message"].as_str().unwrap();
    assert!(message.starts_with("test/echo (1): ok after "), "{message}");
    client.request(json!(2), "test/panics", json!({}));
    client.error(2);
    let message = client.receive()["params"]["message"].to_string();
    assert!(message.contains("test/panics (2): error -32603 after "), "{message}");
    client.notify("$/setTrace", json!({ "value": "off" }));
    client.assert_alive();
    client.assert_alive();
}

#[test]
fn refused_requests_count_as_errors() {
    let mut client = client();
    client.request(json!(1), "initialize", json!({ "capabilities": {} }));
    client.error(1);
    client.request(json!(2), "test/echo", json!([]));
    client.error(2);
    client.request(json!(3), "unknown", json!({}));
    client.error(3);
    client.assert_alive();
    client.request(json!(4), "shutdown", Value::Null);
    client.result(4);
    let counts = client.dispatch.connection.metrics.snapshot();
    let counts: Vec<_> = counts.iter().map(|(name, stats)| (&**name, stats.count, stats.errors)).collect();
    assert_eq!(counts, [("initialize", 2, 1), ("shutdown", 1, 0), ("test/echo", 2, 1)]);
}
