use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

use super::*;

const LIMITS: Limits = Limits { running: 3, short: 2, waiting_bytes: 100 };

fn in_flight() -> InFlight<&'static str> {
    while_somebody_reads(InFlight::new(LIMITS, || true))
}

fn while_somebody_reads(requests: InFlight<&'static str>) -> InFlight<&'static str> {
    assert_eq!(next(&requests, Worker::First), (Did::Read, Help::NotNeeded));
    requests
}

fn request(id: i64) -> Waiting<&'static str> {
    let asked = Asked { id: RequestId::Number(id), method: "m", received: Instant::now() };
    Waiting { asked, cancel: CancelToken::new(), bytes: 10, alone: false, job: "job" }
}

fn admit(requests: &InFlight<&'static str>, id: i64) -> Help {
    requests.admit(request(id)).unwrap_or_else(|(why, _)| panic!("{id} is not admitted: {why:?}"))
}

/// A turn by what tells it from others.
#[derive(Debug, PartialEq)]
enum Did {
    Read,
    CarryOut(i64),
    Write,
}

fn next(requests: &InFlight<&'static str>, worker: Worker) -> (Did, Help) {
    let (turn, help) = requests.next(worker).unwrap();
    let turn = match turn {
        Turn::Read => Did::Read,
        Turn::CarryOut(_, request) => Did::CarryOut(number(&request)),
        Turn::Write => Did::Write,
    };
    (turn, help)
}

/// Calls a worker that takes the next request.
fn start(requests: &InFlight<&'static str>) -> (Ticket, Waiting<&'static str>) {
    match requests.next(Worker::Called).unwrap().0 {
        Turn::CarryOut(ticket, request) => (ticket, request),
        Turn::Read | Turn::Write => panic!("there is a request"),
    }
}

fn number(request: &Waiting<&'static str>) -> i64 {
    match request.asked.id {
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
    assert_eq!([(); 3].map(|()| number(&start(&requests).1)), [3, 1, 2]);
}

#[test]
fn an_id_is_taken_until_its_request_is_answered() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    assert_eq!(requests.admit(request(1)).map_err(|(why, _)| why), Err(NotAdmitted::Duplicate));
    let (started, _) = start(&requests);
    assert_eq!(requests.admit(request(1)).map_err(|(why, _)| why), Err(NotAdmitted::Duplicate));
    assert!(requests.finish(started, || {}));
    let _ = admit(&requests, 1);
}

#[test]
fn a_cancelled_request_is_answered_once_and_its_id_is_free() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    let (old, _) = start(&requests);
    assert!(cancel(&requests, 1));
    assert!(!cancel(&requests, 1));
    let _ = admit(&requests, 1);
    let (new, _) = start(&requests);
    assert!(!requests.finish(old, || panic!("it has been answered")));
    let mut answered = false;
    assert!(requests.finish(new, || answered = true));
    assert!(answered);
}

#[test]
fn a_request_past_its_commit_point_is_not_cancelled() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    let (started, request) = start(&requests);
    assert!(request.cancel.begin_commit());
    assert!(!cancel(&requests, 1));
    assert!(requests.finish(started, || {}));
}

#[test]
fn a_request_that_waits_is_forgotten_when_it_is_cancelled() {
    let requests = in_flight();
    let _ = (admit(&requests, 1), admit(&requests, 2));
    assert!(cancel(&requests, 1));
    assert_eq!(requests.lock().waiting_bytes, 10);
    assert_eq!(number(&start(&requests).1), 2);
}

#[test]
fn a_short_request_never_changes_hands() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    assert_eq!(next(&requests, Worker::HasRead).0, Did::CarryOut(1));
    assert!(requests.finish(Ticket(1), || {}));
    assert_eq!(next(&requests, Worker::HasCarriedOut).0, Did::Write);
    assert_eq!(next(&requests, Worker::HasWritten).0, Did::Read);
}

#[test]
fn answers_are_written_together_but_not_too_many() {
    let requests = in_flight();
    let count = AT_ONCE as u64 + 2;
    for id in 1..=count {
        let _ = requests.admit(Waiting { bytes: 0, ..request(id as i64) });
    }
    let mut turns = vec![next(&requests, Worker::HasRead).0];
    for ticket in 1..=count {
        assert!(requests.finish(Ticket(ticket), || {}));
        turns.push(next(&requests, Worker::HasCarriedOut).0);
        if turns.last() == Some(&Did::Write) {
            turns.push(next(&requests, Worker::HasWritten).0);
        }
    }
    let writes: Vec<_> = (0..turns.len()).filter(|n| turns[*n] == Did::Write).collect();
    assert_eq!(writes, [AT_ONCE, AT_ONCE + 3], "{turns:?}");
}

#[test]
fn one_worker_is_called_at_a_time_and_calls_the_next() {
    let requests = in_flight();
    assert_eq!(admit(&requests, 1), Help::NewWorker);
    assert_eq!(admit(&requests, 2), Help::NotNeeded, "one has been called");
    assert_eq!(admit(&requests, 3), Help::NotNeeded);
    assert_eq!(next(&requests, Worker::Called), (Did::CarryOut(1), Help::NewWorker));
    assert_eq!(next(&requests, Worker::Called), (Did::CarryOut(2), Help::NewWorker), "somebody has to watch");
    assert_eq!(next(&requests, Worker::Called), (Did::CarryOut(3), Help::NotNeeded), "the others take long");
}

#[test]
fn no_more_are_begun_than_may_run() {
    let requests = Arc::new(in_flight());
    for id in 1..=4 {
        let _ = admit(&requests, id);
    }
    let tickets = [(); 3].map(|()| start(&requests).0);
    let fourth = thread::spawn({
        let requests = requests.clone();
        move || next(&requests, Worker::Called).0
    });
    while requests.lock().idle == 0 {
        thread::yield_now();
    }
    assert!(requests.finish(tickets[0], || {}));
    let turns = [next(&requests, Worker::HasCarriedOut).0, fourth.join().unwrap()];
    assert!(turns.contains(&Did::CarryOut(4)) && turns.contains(&Did::Write), "{turns:?}");
}

#[test]
fn what_nobody_begins_for_a_tick_is_begun_by_who_watches() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    assert_eq!(next(&requests, Worker::HasRead).0, Did::CarryOut(1));
    assert_eq!(next(&requests, Worker::Called).0, Did::Read, "nobody reads while 1 is carried out");
    let _ = (admit(&requests, 2), admit(&requests, 3));
    assert_eq!(next(&requests, Worker::Called).0, Did::CarryOut(2));
    assert!(requests.finish(Ticket(2), || {}));
    assert_eq!(next(&requests, Worker::HasCarriedOut).0, Did::CarryOut(3));
    assert_eq!(next(&requests, Worker::Called).0, Did::Write, "nobody writes while 1 and 3 are carried out");
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
    let worker = thread::spawn({
        let requests = requests.clone();
        move || number(&start(&requests).1)
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
    let requests = while_somebody_reads(InFlight::new(LIMITS, move || may_start.load(SeqCst)));
    assert_eq!(admit(&requests, 1), Help::NotNeeded);
    open.store(true, SeqCst);
    assert_eq!(requests.resume(), Help::NewWorker);
    assert_eq!(number(&start(&requests).1), 1);
    assert_eq!(requests.resume(), Help::NotNeeded);
}

#[test]
fn a_request_that_must_be_alone_starts_after_all_others_are_answered() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    let (before, _) = start(&requests);
    assert_eq!(requests.admit(Waiting { alone: true, ..request(2) }).ok(), Some(Help::NotNeeded));
    assert_eq!(requests.resume(), Help::NotNeeded);
    assert!(requests.finish(before, || {}));
    assert_eq!(number(&start(&requests).1), 2);
}

#[test]
fn a_cancel_can_make_way_for_a_request_that_must_be_alone() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    let _stuck = start(&requests);
    let _ = requests.admit(Waiting { alone: true, ..request(2) }).ok();
    assert_eq!(requests.cancel(&RequestId::Number(1), |_| {}), Help::NewWorker);
    assert_eq!(number(&start(&requests).1), 2);
}

#[test]
fn nothing_is_read_while_too_much_waits() {
    let open = Arc::new(AtomicBool::new(false));
    let may_start = open.clone();
    let requests = Arc::new(while_somebody_reads(InFlight::new(LIMITS, move || may_start.load(SeqCst))));
    for id in 0..10 {
        let _ = admit(&requests, id);
    }
    assert!(!requests.has_room());
    let worker = thread::spawn({
        let requests = requests.clone();
        move || [next(&requests, Worker::HasRead).0, next(&requests, Worker::Called).0]
    });
    while requests.lock().idle == 0 {
        thread::yield_now();
    }
    open.store(true, SeqCst);
    let _ = requests.resume();
    assert_eq!(worker.join().unwrap(), [Did::CarryOut(0), Did::CarryOut(1)]);
    assert!(requests.has_room());
    assert_eq!(next(&requests, Worker::Called).0, Did::Read);
}

#[test]
fn nothing_is_read_after_the_end_of_input() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    requests.end_input();
    assert_eq!(next(&requests, Worker::HasRead), (Did::CarryOut(1), Help::NotNeeded), "there is nothing to watch");
}

#[test]
fn a_closed_session_carries_out_what_it_has_and_takes_nothing_more() {
    let requests = in_flight();
    let _ = admit(&requests, 1);
    requests.close();
    assert_eq!(requests.admit(request(2)).map_err(|(why, _)| why), Err(NotAdmitted::Closed));
    let (started, _) = start(&requests);
    let (answered, waited) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            requests.wait_until_answered();
            assert!(answered.load(SeqCst), "the wait was over before the answer");
            waited.store(true, SeqCst);
        });
        assert!(requests.finish(started, || answered.store(true, SeqCst)));
    });
    assert!(waited.load(SeqCst));
    assert_eq!(next(&requests, Worker::HasCarriedOut).0, Did::Write);
    assert!(requests.next(Worker::HasWritten).is_none(), "workers are not needed any more");
}

#[test]
fn an_abandoned_session_waits_only_for_what_has_passed_its_commit_point() {
    let requests = in_flight();
    for id in 1..=3 {
        let _ = admit(&requests, id);
    }
    let ((read, _), (write, request)) = (start(&requests), start(&requests));
    assert!(request.cancel.begin_commit());
    let mut cancelled = Vec::new();
    requests.abandon(|asked| cancelled.push(asked.id.clone()));
    assert_eq!(cancelled, [RequestId::Number(1)]);
    assert!(!requests.finish(read, || panic!("it has been answered")));
    assert!(requests.finish(write, || {}));
    requests.wait_until_answered();
    assert_eq!(next(&requests, Worker::HasCarriedOut).0, Did::Write);
    assert!(requests.next(Worker::HasWritten).is_none(), "what waited is forgotten");
}
