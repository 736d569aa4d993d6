use proptest::prelude::*;

use super::*;
use crate::{
    protocol::snippets::SnippetsParams,
    server::{decode::decode_params, errors::code},
};

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

/// A message whose params are long, with `before` in front of them and `behind` behind them.
fn long(before: &str, behind: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0",{before}"params":{{"x":"{}"}}{behind}"#, "é".repeat(LONG))
}

fn skim_str(message: &str) -> Result<Incoming, Refused> {
    skim(message.as_bytes().to_vec(), |method| method == "m")
}

#[test]
fn the_params_of_a_long_request_are_left_to_who_decodes_them() {
    for (before, behind) in [
        (r#""id":1,"method":"m","#, "}"),
        (r#""method":"m","id":"a","#, "} "),
        ("\"x\":[],\t\"method\":\"m\",\n\"id\":null\r\n, ", " \n} \r\n"),
    ] {
        let message = long(before, behind);
        let (Ok(Incoming::Request { id, method, params }), Ok(whole)) = (skim_str(&message), parse_str(&message))
        else {
            panic!("{before}")
        };
        assert!(!params.is_checked, "{before}");
        let params = Params { is_checked: true, ..params };
        assert_eq!(Incoming::Request { id, method, params }, whole);
    }
}

#[test]
fn what_does_not_begin_like_a_long_request_with_its_params_last_is_parsed_at_once() {
    let id_and_method = r#""id":1,"method":"m","#;
    for message in [
        r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{}}"#.to_owned(),
        long(r#""id":1,"method":"other","#, "}"),
        long(r#""id":1,"#, r#","method":"m"}"#),
        long(r#""method":"m","#, "}"),
        long(r#""id":1.5,"method":"m","#, "}"),
        long(r#""id":1,"id":2,"method":"m","#, "}"),
        long(r#""id":1,"method":"m","p\u0061rams":1,"#, "}"),
        long(r#""id":1,"method":"m" "#, "}"),
        long(&format!("{id_and_method},"), "}"),
        long(&format!("{id_and_method}\u{a0}"), "}"),
        long(&format!(r#"{id_and_method}"x":{{"#), "}}"),
        long(&format!(r#"{id_and_method}"x":"{}","#, "y".repeat(MAX_HEAD)), "}"),
    ] {
        let skimmed = skim_str(&message);
        let is_checked = !matches!(&skimmed, Ok(Incoming::Request { params: Params { is_checked: false, .. }, .. }));
        assert!(is_checked, "{:?}", message.get(..100));
        assert_eq!(skimmed, parse_str(&message));
    }
}

#[test]
fn what_was_only_skimmed_is_read_again_as_what_it_is() {
    let read_again = |message: &str| match skim_str(message) {
        Ok(Incoming::Request { params, .. }) if !params.is_checked => params.read_again(),
        other => panic!("{other:?}"),
    };
    let message = |behind| long(r#""id":1,"method":"m","#, behind);
    assert_eq!(read_again(&message("}")), ReadAgain::TheSame);

    let ReadAgain::Others(more) = read_again(&message(r#","extra":{}}"#)) else { panic!("they are the same") };
    assert!(more.get().unwrap().ends_with("é\"}"));

    let broken = |token, instead: &str| message("}").replace(token, instead);
    for (message, code, id) in [
        (message(""), code::PARSE_ERROR, RequestId::Null),
        (message("]}"), code::PARSE_ERROR, RequestId::Null),
        (message("}}"), code::PARSE_ERROR, RequestId::Null),
        (message("\u{c}}"), code::PARSE_ERROR, RequestId::Null),
        (broken(r#""params":"#, "\"params\":\u{a0}"), code::PARSE_ERROR, RequestId::Null),
        (message(r#","id":2}"#), code::INVALID_REQUEST, RequestId::Null),
        (message(r#","params":{}}"#), code::INVALID_REQUEST, RequestId::Number(1)),
    ] {
        let ReadAgain::Refused(refused) = read_again(&message) else { panic!("{:?}", message.get(..100)) };
        assert_eq!((refused.error.code, refused.id), (code, id));
    }
}

/// What becomes of a message in the end, and how often its request is carried out.
fn outcome(incoming: Result<Incoming, Refused>) -> (String, usize) {
    let Ok(Incoming::Request { id, method, params }) = incoming else { return (format!("{incoming:?}"), 0) };
    let decoded = |params: &Params| decode_params::<SnippetsParams>(params.get().unwrap_or("{}"));
    let shown = |decoded: Result<SnippetsParams, RpcError>| {
        let runs = decoded.is_ok().into();
        (format!("{id:?} {method} {decoded:?}"), runs)
    };
    match decoded(&params) {
        Ok(decoded) => shown(Ok(decoded)),
        Err(error) => match params.read_again() {
            ReadAgain::TheSame => shown(Err(error)),
            ReadAgain::Others(params) => shown(decoded(&params)),
            ReadAgain::Refused(refused) => (format!("{:?}", Err::<Incoming, _>(refused)), 0),
        },
    }
}

/// Puts a token into a message, in the place of so many characters.
type Splice = (prop::sample::Index, usize, &'static str);

fn splice() -> impl Strategy<Value = Splice> {
    let token = prop::sample::select(vec![
        "",
        "",
        " ",
        "\u{a0}",
        "\u{c}",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "0",
        "é",
        ",,",
        r#","id":2"#,
        r#""params":{},"#,
        r#","params":{}"#,
        r#","x":{}"#,
        r#""x":"","#,
        "null",
    ]);
    (any::<prop::sample::Index>(), 0..3_usize, token)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn a_message_that_is_skimmed_comes_to_the_same_end(
        message in prop::sample::select(vec![
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"snippets":[{"uri":"file:///a","name":"\"params\":}"}]}}"#,
            r#" { "jsonrpc" : "2.0" , "id" : "a" , "method" : "m" , "params" : { "snippets" : [ ] } } "#,
            r#"{"jsonrpc":"2.0","method":"m","id":1,"params":null}"#,
            r#"{"jsonrpc":"2.0","method":"m","params":{"snippets":[]},"id":1}"#,
        ]),
        splices in prop::collection::vec(splice(), 0..4),
    ) {
        let mut message: Vec<char> = message.chars().collect();
        for (index, removed, token) in splices {
            let begin = index.index(message.len() + 1);
            let end = message.len().min(begin + removed);
            message.splice(begin..end, token.chars());
        }
        let body = message.into_iter().collect::<String>().into_bytes();
        prop_assert_eq!(outcome(skim_from(0, body.clone(), |_| true)), outcome(parse(body)));
    }
}
