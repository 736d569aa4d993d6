//! Many requests, requests that take long, and clients that do not read.

use super::*;

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
