//! The built sidecar, over its stdin and stdout.

use std::{collections::HashSet, path::Path, time::Duration};

use ploke_io::protocol::FileUri;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Result,
    corpus::{Corpus, SourceFile},
    floor,
    peer::{Peer, body, frame, request},
    table::Line,
    timing::{Rounds, median, time},
};

const SNIPPETS: &str = "ploke/snippets";

/// Ten pieces of each of 500 files in one request, beside reading and hashing these files.
pub fn snippets(corpus: &Corpus) -> Result<Vec<Line>> {
    let files = corpus.sample(500);
    let paths: Vec<_> = files.iter().map(|file| file.path.as_path()).collect();
    let queries: Vec<_> = files.iter().flat_map(|file| queries(file)).collect();
    let params = json!({ "snippets": queries });
    let mut sidecar = Peer::sidecar(&corpus.root)?;
    refuse_errors(&sidecar.request(SNIPPETS, &params)?)?;

    let request = frame(&request(1, SNIPPETS, &params));
    let rounds = Rounds::side_by_side(
        || {
            let (time, answered) = time(|| {
                sidecar.send(&request)?;
                sidecar.receive().map(drop)
            });
            answered.map(|()| time)
        },
        || {
            let (time, hashes) = time(|| floor::read_and_hash(&paths));
            hashes?;
            Ok(time)
        },
    )?;
    Ok(vec![Line::times_floor(", 10 of each of 500 files", &rounds, 2.5)])
}

/// One small snippet again and again, alone and 64 at a time, beside the echo of the same requests.
pub fn one_snippet(corpus: &Corpus) -> Result<Vec<Line>> {
    let file = corpus.sample(500).into_iter().min_by_key(|file| file.text.len()).ok_or("an empty corpus")?;
    let params = json!({ "snippets": [queries(file).next()] });
    let mut sidecar = Peer::sidecar(&corpus.root)?;
    let mut echo = Peer::echo()?;
    refuse_errors(&sidecar.request(SNIPPETS, &params)?)?;

    let requests: Vec<_> = (0..REQUESTS).map(|id| frame(&request(FIRST_ID + id, SNIPPETS, &params))).collect();
    let alone = Rounds::side_by_side(|| round_trip(&mut sidecar, &requests), || round_trip(&mut echo, &requests))?;
    let together = Rounds::side_by_side(|| in_flight(&mut sidecar, &requests), || in_flight(&mut echo, &requests))?;
    Ok(vec![Line::times_floor(", round trip", &alone, 8.0), Line::throughput(", 64 in flight", &together, 0.15)])
}

const REQUESTS: i64 = 1_000;
/// All ids have as many digits, so that all messages have the same length.
const FIRST_ID: i64 = 1_000;
const IN_FLIGHT: usize = 64;

/// The median time from a request to its answer.
fn round_trip(peer: &mut Peer, requests: &[Vec<u8>]) -> Result<Duration> {
    let mut answers = Answers::default();
    let mut times = Vec::with_capacity(requests.len());
    for request in requests {
        let (time, answer) = time(|| -> Result<()> {
            peer.send(request)?;
            answers.take(peer.receive()?)
        });
        answer?;
        times.push(time);
    }
    answers.refuse_missing(requests.len())?;
    Ok(median(times))
}

/// The time for one request while others are on their way.
fn in_flight(peer: &mut Peer, requests: &[Vec<u8>]) -> Result<Duration> {
    let mut answers = Answers::default();
    let (time, answered) = time(|| -> Result<()> {
        let (first, rest) = requests.split_at(IN_FLIGHT);
        first.iter().try_for_each(|request| peer.send(request))?;
        for next in rest {
            answers.take(peer.receive()?)?;
            peer.send(next)?;
        }
        first.iter().try_for_each(|_| answers.take(peer.receive()?))
    });
    answered?;
    answers.refuse_missing(requests.len())?;
    Ok(time / requests.len() as u32)
}

/// The answers to requests of the same length, which any client has to match with its requests.
#[derive(Default)]
struct Answers {
    ids: HashSet<i64>,
    length: Option<usize>,
}

impl Answers {
    fn take(&mut self, message: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Answer {
            id: i64,
        }
        // An error would be shorter or longer than the answers before it.
        let expected = *self.length.get_or_insert(message.len());
        if message.len() != expected {
            return Err(format!("an answer of {} bytes instead of {expected}", message.len()).into());
        }
        self.ids.insert(serde_json::from_slice::<Answer>(body(message))?.id);
        Ok(())
    }

    fn refuse_missing(&self, requests: usize) -> Result<()> {
        if self.ids.len() == requests { Ok(()) } else { Err(format!("{} of {requests} ids", self.ids.len()).into()) }
    }
}

/// From the start of the process to the result of `initialize`, with the corpus as root.
pub fn start(corpus: &Corpus) -> Result<Vec<Line>> {
    let starts = (0..21).map(|_| {
        let (time, started) = time(|| Peer::sidecar(&corpus.root));
        started.map(|_| time)
    });
    let starts = starts.collect::<Result<Vec<_>>>()?;
    Ok(vec![Line::time(" to initialize result", median(starts), Duration::from_millis(20))])
}

pub fn uri(path: &Path) -> Value {
    json!(FileUri::from_path(path))
}

fn queries(file: &SourceFile) -> impl Iterator<Item = Value> + '_ {
    let uri = uri(&file.path);
    file.pieces().map(move |range| {
        let range = json!({ "startByte": range.start, "endByte": range.end });
        json!({ "uri": uri, "range": range, "expected": { "contentHash": file.hash } })
    })
}

fn refuse_errors(result: &Value) -> Result<()> {
    let snippets = result["snippets"].as_array().ok_or("no snippets")?;
    match snippets.iter().find(|snippet| snippet["status"] != "ok") {
        Some(error) => Err(format!("a snippet was refused: {error}").into()),
        None => Ok(()),
    }
}
