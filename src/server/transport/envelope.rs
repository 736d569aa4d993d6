//! The JSON-RPC envelope of a message; its params stay as they came.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::server::method::{RequestId, RpcError};

/// One message of the client.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    Request {
        id: RequestId,
        method: String,
        params: Params,
    },
    Notification {
        method: String,
        params: Params,
    },
    /// The answer to a request of this server, whole.
    Response(String),
}

/// The params of a message as JSON text, or none.
#[derive(Debug, PartialEq)]
pub(crate) struct Params {
    message: String,
    /// Where in the message they stand.
    range: Option<Range<usize>>,
    /// It is known that the message is JSON, and that these are its params.
    is_checked: bool,
}

/// A message that is answered with an error because of what it is, not because of what it asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Refused {
    /// The message's id as far as it has a valid one, else null.
    pub id: RequestId,
    pub error: RpcError,
}

pub(super) fn parse(body: Vec<u8>) -> Result<Incoming, Refused> {
    parse_text(utf8(body)?)
}

/// The same, but whether the params of a long request are JSON is left to who decodes them, which fails if they are not;
/// then they have to be [read again](Params::read_again), and so they have before anything else is made of what the
/// message seems to be. `decodes_all` knows the methods that decode all of their params before they do anything.
pub(super) fn skim(body: Vec<u8>, decodes_all: impl Fn(&str) -> bool) -> Result<Incoming, Refused> {
    skim_from(LONG, body, decodes_all)
}

fn skim_from(long: usize, body: Vec<u8>, decodes_all: impl Fn(&str) -> bool) -> Result<Incoming, Refused> {
    let message = utf8(body)?;
    if message.len() >= long {
        if let Some((id, method, params)) = skim_text(&message).filter(|(_, method, _)| decodes_all(method)) {
            let params = Params { message, range: Some(params), is_checked: false };
            return Ok(Incoming::Request { id, method, params });
        }
    }
    parse_text(message)
}

/// Bytes of a message that takes a while to look at.
const LONG: usize = 64 * 1024;

/// Bytes within which the params have to begin.
const MAX_HEAD: usize = 1024;

/// The id and method of a request whose params seem to come last, and where these stand. If that is one JSON value, then
/// the message is just this request; if not, nothing is known of it.
fn skim_text(message: &str) -> Option<(RequestId, String, Range<usize>)> {
    const NAME: &str = r#""params""#;
    let begin = &message.as_bytes()[..message.len().min(MAX_HEAD)];
    let name = begin.windows(NAME.len()).position(|bytes| bytes == NAME.as_bytes())?;
    let others = message[..name].trim_end_matches(is_space).strip_suffix(',')?;
    let value = message[name + NAME.len()..].trim_start_matches(is_space).strip_prefix(':')?;
    let value = value.trim_end_matches(is_space).strip_suffix('}')?.trim_matches(is_space);
    match parse_text(format!("{others}}}")) {
        Ok(Incoming::Request { id, method, params: Params { range: None, .. } }) => {
            Some((id, method, position_in(message, value)))
        }
        _ => None,
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn utf8(body: Vec<u8>) -> Result<String, Refused> {
    String::from_utf8(body).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        refused(RequestId::Null, RpcError::parse_error(format!("not UTF-8: valid up to byte {valid}")))
    })
}

fn parse_text(message: String) -> Result<Incoming, Refused> {
    let members: Members = serde_json::from_str(&message).map_err(|error| not_an_object(&message, error))?;

    let id = members.id.map(RequestId::parse);
    let answer_to = match &id {
        Some(Some(id)) if members.duplicate != Some(Member::Id) => id.clone(),
        _ => RequestId::Null,
    };
    let invalid = |what: &str| refused(answer_to.clone(), RpcError::invalid_request(what));
    if id == Some(None) {
        return Err(invalid("id: must be a string, an integer of 64 bits or null"));
    }
    if members.duplicate.is_some() {
        return Err(invalid("a member of the message is given twice"));
    }
    if members.jsonrpc.and_then(text).as_deref() != Some("2.0") {
        return Err(invalid("jsonrpc: must be \"2.0\""));
    }
    let Some(method) = members.method else {
        if members.is_answer && id.is_some() {
            return Ok(Incoming::Response(message));
        }
        return Err(invalid("neither a request nor a response: there is no method"));
    };
    let Some(method) = text(method).map(Cow::into_owned) else {
        return Err(invalid("method: must be a string"));
    };
    let range = members.params.map(|params| position_in(&message, params.get()));
    let params = Params { message, range, is_checked: true };
    Ok(match id.flatten() {
        Some(id) => Incoming::Request { id, method, params },
        None => Incoming::Notification { method, params },
    })
}

/// What params turn out to be.
#[derive(Debug, PartialEq)]
pub(super) enum ReadAgain {
    /// They are one JSON value, and the params of the message.
    TheSame,
    /// They were none; the message has these.
    Others(Params),
    /// The message is no request.
    Refused(Refused),
}

impl Params {
    pub fn get(&self) -> Option<&str> {
        self.range.clone().map(|range| &self.message[range])
    }

    /// For who was given them and could not decode them, or cannot wait until they are decoded.
    pub fn read_again(&self) -> ReadAgain {
        if self.is_checked {
            return ReadAgain::TheSame;
        }
        match parse_text(self.message.clone()) {
            Ok(Incoming::Request { params, .. }) if params.range != self.range => ReadAgain::Others(params),
            // The head has an id, so that it can be nothing but a request.
            Ok(_) => ReadAgain::TheSame,
            Err(refused) => ReadAgain::Refused(refused),
        }
    }

    /// Bytes of memory they keep: the whole message.
    pub fn bytes(&self) -> usize {
        self.message.capacity()
    }
}

impl RequestId {
    /// The id that stands there, if it is one.
    pub(super) fn parse(json: &RawValue) -> Option<Self> {
        match json.get() {
            "null" => Some(Self::Null),
            number => number.parse().ok().map(Self::Number).or_else(|| Some(Self::String(text(json)?.into_owned()))),
        }
    }
}

/// The members of a message that mean something, as they stand in it.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    /// There is a result or an error.
    is_answer: bool,
    duplicate: Option<Member>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Jsonrpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    #[serde(other)]
    Other,
}

// Written by hand because a derived one would take an array for its fields in order.
impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one message object (batches are not supported)")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                while let Some(member) = map.next_key()? {
                    let place = match member {
                        Member::Jsonrpc => &mut members.jsonrpc,
                        Member::Id => &mut members.id,
                        Member::Method => &mut members.method,
                        Member::Params => &mut members.params,
                        Member::Result | Member::Error => {
                            members.is_answer = true;
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                        Member::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if place.replace(map.next_value()?).is_some() {
                        // The id matters most: an answer must not go to one of two ids.
                        members.duplicate = members.duplicate.filter(|old| *old == Member::Id).or(Some(member));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Tells JSON that is no message from what is no JSON.
fn not_an_object(message: &str, error: serde_json::Error) -> Refused {
    let error = match serde_json::from_str::<IgnoredAny>(message) {
        Ok(_) => RpcError::invalid_request(error.to_string()),
        Err(error) => RpcError::parse_error(error.to_string()),
    };
    refused(RequestId::Null, error)
}

fn refused(id: RequestId, error: RpcError) -> Refused {
    Refused { id, error }
}

/// The string that stands there, if it is one.
fn text(json: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = json.get().strip_prefix('"')?.strip_suffix('"')?;
    if quoted.contains('\\') {
        serde_json::from_str(json.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(quoted))
    }
}

fn position_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

#[cfg(test)]
mod tests;
