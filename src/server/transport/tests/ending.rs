//! How a session ends, in order and otherwise.

use super::*;

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
