use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use super::*;

const LIMITS: Limits = Limits { running: 3, waiting_bytes: 100 };

fn in_flight() -> InFlight<&'static str> {
    InFlight::new(LIMITS, || true)
}

fn request(id: i64) -> Waiting<&'static str> {
    let asked = Asked { id: RequestId::Number(id), method: "m", received: Instant::now() };
    Waiting { asked, cancel: CancelToken::new(), bytes: 10, alone: false, job: "job" }
}

fn admit(requests: &InFlight<&'static str>, id: i64) -> Help {
    requests.admit(request(id)).unwrap_or_else(|(why, _)| panic!("{id} is not admitted: {why:?}"))
}

/// Lets an old worker take the next request.
fn start(requests: &InFlight<&'static str>) -> Started<&'static str> {
    requests.next(&mut Worker::Old).unwrap()
}

fn number(started: &Started<&'static str>) -> i64 {
    match started.request.asked.id {
        RequestId::Number(number) => number,
        _ => panic!("only numbers are used"),
    }
}

/// Cancels the request and says whether it was answered by that.
fn cancel(requests: &InFlight<&'static str>, id: i64) -> bool {
    let mut answered = false;
    let _ = requests.cancel(&RequestId::Number(id), |_| answered = true);
    answered
}

#[test]
fn requests_start_in_the_order_they_came() {
    let requests = in_flight();
    for id in [3, 1, 2] {
        let _ = admit(&requests, id);
    }
    assert_eq!([(); 3].map(|()| number(&start(&requests))), [3, 1, 2]);
}

#[test]
fn an_id_is_taken_until_its_request_is_answered() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    assert_eq!(requests.admit(request(1)).map_err(|(why, _)| why), Err(NotAdmitted::Duplicate));
    let started = start(&requests);
    assert_eq!(requests.admit(request(1)).map_err(|(why, _)| why), Err(NotAdmitted::Duplicate));
    assert!(requests.finish(started.ticket, || {}));
    let _ = admit(&requests, 1);
}

#[test]
fn a_cancelled_request_is_answered_once_and_its_id_is_free() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    let old = start(&requests);
    assert!(cancel(&requests, 1));
    assert!(!cancel(&requests, 1));
    let _ = admit(&requests, 1);
    let new = start(&requests);
    assert!(!requests.finish(old.ticket, || panic!("it has been answered")));
    let mut answered = false;
    assert!(requests.finish(new.ticket, || answered = true));
    assert!(answered);
}

#[test]
fn a_request_past_its_commit_point_is_not_cancelled() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    let started = start(&requests);
    assert!(started.request.cancel.begin_commit());
    assert!(!cancel(&requests, 1));
    assert!(requests.finish(started.ticket, || {}));
}

#[test]
fn a_request_that_waits_is_forgotten_when_it_is_cancelled() {
    let requests = in_flight();
    let _ = (admit(&requests, 1), admit(&requests, 2));
    assert!(cancel(&requests, 1));
    assert_eq!(requests.lock().waiting_bytes, 10);
    assert_eq!(number(&start(&requests)), 2);
}

#[test]
fn one_worker_is_called_at_a_time_and_calls_the_next() {
    let requests = in_flight();
    requests.first_worker();
    assert_eq!(admit(&requests, 1), Help::NewWorker, "the first one has not come to wait yet");
    assert_eq!(admit(&requests, 2), Help::NotNeeded, "one has been called");
    assert_eq!(admit(&requests, 3), Help::NotNeeded);
    let first = requests.next(&mut Worker::New).unwrap();
    assert_eq!((number(&first), first.help), (1, Help::NewWorker));
    let second = requests.next(&mut Worker::New).unwrap();
    assert_eq!((number(&second), second.help), (2, Help::NotNeeded), "three are all there may be");
    assert!(requests.finish(second.ticket, || {}));
    assert_eq!(number(&start(&requests)), 3);
}

#[test]
fn a_worker_that_could_not_be_made_is_asked_for_again() {
    let requests = in_flight();
    assert_eq!(admit(&requests, 1), Help::NewWorker);
    requests.worker_not_made();
    assert_eq!(admit(&requests, 2), Help::NewWorker);
}

#[test]
fn a_worker_that_waits_is_called_rather_than_a_new_one_made() {
    let requests = Arc::new(in_flight());
    requests.first_worker();
    let worker = thread::spawn({
        let requests = requests.clone();
        move || number(&start(&requests))
    });
    while requests.lock().idle == 0 {
        thread::yield_now();
    }
    assert_eq!(admit(&requests, 1), Help::NotNeeded);
    assert_eq!(worker.join().unwrap(), 1);
}

#[test]
fn nothing_starts_while_it_may_not() {
    let open = Arc::new(AtomicBool::new(false));
    let may_start = open.clone();
    let requests = InFlight::new(LIMITS, move || may_start.load(SeqCst));
    assert_eq!(admit(&requests, 1), Help::NotNeeded);
    open.store(true, SeqCst);
    assert_eq!(requests.resume(), Help::NewWorker);
    assert_eq!(number(&requests.next(&mut Worker::New).unwrap()), 1);
    assert_eq!(requests.resume(), Help::NotNeeded);
}

#[test]
fn a_request_that_must_be_alone_starts_after_all_others_are_answered() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    let before = start(&requests);
    assert_eq!(requests.admit(Waiting { alone: true, ..request(2) }).ok(), Some(Help::NotNeeded));
    assert_eq!(requests.resume(), Help::NotNeeded);
    assert!(requests.finish(before.ticket, || {}));
    assert_eq!(number(&start(&requests)), 2);
}

#[test]
fn a_cancel_can_make_way_for_a_request_that_must_be_alone() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    let _stuck = requests.next(&mut Worker::New).unwrap();
    let _ = requests.admit(Waiting { alone: true, ..request(2) }).ok();
    assert_eq!(requests.cancel(&RequestId::Number(1), |_| {}), Help::NewWorker);
    assert_eq!(number(&requests.next(&mut Worker::New).unwrap()), 2);
}

#[test]
fn reading_waits_while_too_much_waits() {
    let requests = Arc::new(in_flight());
    for id in 0..10 {
        let _ = admit(&requests, id);
    }
    assert!(!requests.has_room());
    let reader = thread::spawn({
        let requests = requests.clone();
        move || requests.wait_for_room()
    });
    let _started = start(&requests);
    reader.join().unwrap();
}

#[test]
fn reading_does_not_wait_any_more_when_the_session_ends() {
    let requests = in_flight();
    for id in 0..10 {
        let _ = admit(&requests, id);
    }
    requests.close();
    requests.wait_for_room();
}

#[test]
fn a_closed_session_carries_out_what_it_has_and_takes_nothing_more() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    requests.close();
    assert_eq!(requests.admit(request(2)).map_err(|(why, _)| why), Err(NotAdmitted::Closed));
    let started = start(&requests);
    let (answered, waited) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            requests.wait_until_answered();
            assert!(answered.load(SeqCst), "the wait was over before the answer");
            waited.store(true, SeqCst);
        });
        assert!(requests.finish(started.ticket, || answered.store(true, SeqCst)));
    });
    assert!(waited.load(SeqCst));
    assert!(requests.next(&mut Worker::Old).is_none(), "workers are not needed any more");
}

#[test]
fn an_abandoned_session_waits_only_for_what_has_passed_its_commit_point() {
    let requests = in_flight();
    for id in 1..=3 {
        let _ = admit(&requests, id);
    }
    let (read, write) = (start(&requests), start(&requests));
    assert!(write.request.cancel.begin_commit());
    let mut cancelled = Vec::new();
    requests.abandon(|asked| cancelled.push(asked.id.clone()));
    assert_eq!(cancelled, [RequestId::Number(1)]);
    assert!(!requests.finish(read.ticket, || panic!("it has been answered")));
    assert!(requests.finish(write.ticket, || {}));
    requests.wait_until_answered();
    assert!(requests.next(&mut Worker::Old).is_none(), "what waited is forgotten");
}
