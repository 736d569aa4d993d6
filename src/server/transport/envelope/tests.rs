use super::*;
use crate::server::errors::code;

fn parse_str(message: &str) -> Result<Incoming, Refused> {
    parse(message.as_bytes().to_vec())
}

fn request(message: &str) -> (RequestId, String, Option<String>) {
    match parse_str(message) {
        Ok(Incoming::Request { id, method, params }) => (id, method, params.get().map(str::to_owned)),
        other => panic!("not a request: {message}: {other:?}"),
    }
}

fn refusal(message: &str) -> (i64, RequestId) {
    let refused = parse_str(message).expect_err(message);
    (refused.error.code, refused.id)
}

#[test]
fn requests_notifications_and_responses_are_told_apart() {
    assert_eq!(
        request(r#" {"jsonrpc":"2.0","id":1,"method":"a/b","params": {"x": [1]} } "#),
        (RequestId::Number(1), "a/b".into(), Some(r#"{"x": [1]}"#.into()))
    );
    assert!(matches!(
        parse_str(r#"{"jsonrpc":"2.0","method":"exit"}"#),
        Ok(Incoming::Notification { method, params }) if method == "exit" && params.get().is_none()
    ));
    assert!(matches!(parse_str(r#"{"jsonrpc":"2.0","id":1,"result":null}"#), Ok(Incoming::Response(_))));
    assert!(matches!(parse_str(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#), Ok(Incoming::Response(_))));
}

#[test]
fn ids_are_strings_integers_of_64_bits_and_null() {
    let id = |json: &str| request(&format!(r#"{{"id":{json},"jsonrpc":"2.0","method":"m"}}"#)).0;
    assert_eq!(id("0"), RequestId::Number(0));
    assert_eq!(id("9223372036854775807"), RequestId::Number(i64::MAX));
    assert_eq!(id("-9223372036854775808"), RequestId::Number(i64::MIN));
    assert_eq!(id("null"), RequestId::Null);
    assert_eq!(id(r#""7""#), RequestId::String("7".into()));
    assert_eq!(id(r#""\u00e9\"""#), RequestId::String("é\"".into()));
}

#[test]
fn other_ids_are_refused_and_answered_without_one() {
    for id in ["1.0", "1e3", "9223372036854775808", "true", "[1]", "{}", r#""\ud800""#] {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
        assert_eq!(refusal(&message), (code::INVALID_REQUEST, RequestId::Null), "{message}");
    }
}

#[test]
fn escaped_names_mean_the_same() {
    let message = r#"{"json\u0072pc":"2\u002e0","\u0069d":1,"method":"ploke\/scan"}"#;
    assert_eq!(request(message), (RequestId::Number(1), "ploke/scan".into(), None));
}

#[test]
fn what_is_no_json_is_a_parse_error() {
    let deep = "[".repeat(10_000);
    for message in
        ["", "garbage", "{", r#"{"jsonrpc":"2.0","id":1,"method":"m"}}"#, r#"{"a":01}"#, "[1,", "\u{feff}{}", &deep]
    {
        assert_eq!(refusal(message), (code::PARSE_ERROR, RequestId::Null), "{message}");
    }
    assert_eq!(parse(b"{\"jsonrpc\":\"2.0\",\"x\":\"\xff\"}".to_vec()).unwrap_err().error.code, code::PARSE_ERROR);
}

#[test]
fn json_that_is_no_message_is_an_invalid_request() {
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"shutdown"}]"#;
    let fields_in_order = r#"["2.0",1,"shutdown",null,null,null]"#;
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    for message in [batch, fields_in_order, "[]", "1", "null", r#""text""#, &deep, "{}"] {
        assert_eq!(refusal(message), (code::INVALID_REQUEST, RequestId::Null), "{message}");
    }
}

#[test]
fn an_invalid_request_is_answered_with_its_id_if_that_is_valid() {
    let seven = (code::INVALID_REQUEST, RequestId::Number(7));
    for message in [
        r#"{"id":7,"method":"m"}"#,
        r#"{"jsonrpc":"1.0","id":7,"method":"m"}"#,
        r#"{"jsonrpc":2.0,"id":7,"method":"m"}"#,
        r#"{"jsonrpc":"2.0","id":7}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":3}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":null}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"a","method":"b"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"a","params":{},"params":{}}"#,
    ] {
        assert_eq!(refusal(message), seven, "{message}");
    }
    for message in [
        r#"{"method":"m"}"#,
        r#"{"jsonrpc":"2.0","result":1}"#,
        r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"m"}"#,
        r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"m","method":"m"}"#,
    ] {
        assert_eq!(refusal(message), (code::INVALID_REQUEST, RequestId::Null), "{message}");
    }
}

#[test]
fn unknown_members_are_ignored() {
    let message = r#"{"jsonrpc":"2.0","id":1,"method":"m","extra":{"id":2},"extra":[]}"#;
    assert_eq!(request(message), (RequestId::Number(1), "m".into(), None));
}

#[test]
fn params_nested_10_000_deep_are_carried_without_recursion() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let (_, _, params) = request(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{deep}}}"#));
    assert_eq!(params.as_deref(), Some(deep.as_str()));
}
