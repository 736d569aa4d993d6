//! What becomes of each message.

mod ending;
mod load;

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
    let methods =
        ["echo", "gated", "write", "big", "fails", "panics", "panicsWhenEncoded"].map(|name| format!("test/{name}"));
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
fn a_long_request_is_answered_as_a_short_one() {
    let mut client = client();
    let padding = " ".repeat(100_000);
    for (id, params, expected) in [
        (json!(1), r#"{"value":7}"#, Ok(7)),
        (json!(1), r#"{"value":7},"extra":{}"#, Ok(7)),
        (json!(1), r#"{"vallue":7}"#, Err(code::INVALID_PARAMS)),
        (json!(1), r#"{"vallue":7},"extra":{}"#, Err(code::INVALID_PARAMS)),
        (json!(1), r#"{"value":7},"params":{}"#, Err(code::INVALID_REQUEST)),
        (Value::Null, r#"{"value":7},"id":2"#, Err(code::INVALID_REQUEST)),
        (Value::Null, r#"{"value":7}]"#, Err(code::PARSE_ERROR)),
        (Value::Null, r#"{"value":7"#, Err(code::PARSE_ERROR)),
    ] {
        for padding in ["", &padding] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{padding}{params}}}"#);
            client.send_body(body.as_bytes());
            match expected {
                Ok(value) => assert_eq!(client.result(id.clone()), json!(value), "{params}"),
                Err(code) => assert_eq!(client.error(id.clone()).0, code, "{params}"),
            }
        }
    }
    client.assert_alive();
}

#[test]
fn a_long_request_that_fails_is_carried_out_once() {
    let mut client = client();
    for (value, times) in [(" ".repeat(100_000), "asked 1"), (String::new(), "asked 2")] {
        client.request(json!(1), "test/fails", json!({ "value": value }));
        let (code, message) = client.error(1);
        assert_eq!(code, code::INVALID_PARAMS);
        assert!(message.contains(times), "{message}");
    }
}

#[test]
fn a_long_message_that_is_no_json_has_no_id_and_is_no_request() {
    let mut client = client();
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{}{{}}"#, " ".repeat(100_000));
    client.send_body(body.as_bytes());
    assert_eq!(client.error(Value::Null).0, code::PARSE_ERROR);
    assert!(!client.dispatch.connection.metrics.snapshot().contains_key("test/echo"));

    client.request(json!(1), "test/gated", json!({ "gate": "no-json" }));
    gate("no-json").wait_for(1);
    client.send_body(body.as_bytes());
    assert_eq!(client.error(Value::Null).0, code::PARSE_ERROR);
    gate("no-json").open();
    assert_eq!(client.result(1), "passed");
}

#[test]
fn a_long_message_that_is_no_request_is_refused_before_its_turn_if_another_comes() {
    let mut client = TestClient::initialized(Setup::running(1));
    let long = |end: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{}{end}"#, " ".repeat(100_000)).into_bytes()
    };
    client.request(json!(0), "test/gated", json!({ "gate": "before" }));
    gate("before").wait_for(1);
    client.send_body(&long("{}"));
    client.cancel(json!(1));
    assert_eq!(client.error(Value::Null).0, code::PARSE_ERROR);
    client.send_body(&long(r#"{},"id":2}"#));
    client.request(json!(1), "test/echo", json!({ "value": "good" }));
    assert_eq!(client.error(Value::Null).0, code::INVALID_REQUEST);
    gate("before").open();
    assert_eq!(client.result(0), "passed");
    assert_eq!(client.result(1), "good");
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
