//! The requests that have been received and not been answered, and who works on them next.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{CancelToken, server::method::RequestId};

/// Requests in flight: they wait in the order they came, run on a bounded number of workers, and are answered once.
///
/// `J` is whatever is needed to carry one out.
pub(super) struct InFlight<J> {
    state: Mutex<State<J>>,
    /// For idle workers: there is something to start, or no more will come.
    work: Condvar,
    /// For the reader and for the end of the session: fewer requests wait or run.
    fewer: Condvar,
    limits: Limits,
    /// Whether requests may be started now; asked with the lock held.
    may_start: Box<dyn Fn() -> bool + Send + Sync>,
}

#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Requests that run at the same time.
    pub running: usize,
    /// Bytes of requests that wait; reading stops beyond.
    pub waiting_bytes: usize,
}

/// A request that waits.
pub(super) struct Waiting<J> {
    pub asked: Asked,
    pub cancel: CancelToken,
    /// Memory it keeps.
    pub bytes: usize,
    /// Starts only after everything before it has been answered.
    pub alone: bool,
    pub job: J,
}

/// What a request is called, and since when it is in flight.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub id: RequestId,
    pub method: &'static str,
    pub received: Instant,
}

/// A request that a worker has taken.
pub(super) struct Started<J> {
    pub ticket: Ticket,
    pub request: Waiting<J>,
    pub help: Help,
}

/// Requests by the order they came in; ids may be used again once they have been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Ticket(u64);

/// Whether another worker has to be made for what waits.
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub(super) enum Help {
    NewWorker,
    NotNeeded,
}

#[derive(Debug, PartialEq)]
pub(super) enum NotAdmitted {
    /// A request with this id has not been answered yet.
    Duplicate,
    /// The session has ended.
    Closed,
}

struct State<J> {
    waiting: BTreeMap<Ticket, Waiting<J>>,
    waiting_bytes: usize,
    /// Begun and not answered.
    running: HashMap<Ticket, (Asked, CancelToken)>,
    /// Every request that waits or runs.
    tickets: HashMap<RequestId, Ticket>,
    last_ticket: Ticket,
    workers: usize,
    idle: usize,
    /// A worker has been called and has not come yet. One at a time is called, and each that finds more work than its
    /// own calls the next: short requests are then done by few threads, long ones never keep others waiting.
    called: bool,
    closed: bool,
}

impl<J> InFlight<J> {
    pub fn new(limits: Limits, may_start: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let state = State {
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            running: HashMap::new(),
            tickets: HashMap::new(),
            last_ticket: Ticket(0),
            workers: 0,
            idle: 0,
            called: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            fewer: Condvar::new(),
            limits,
            may_start: Box::new(may_start),
        }
    }

    pub fn admit(&self, request: Waiting<J>) -> Result<Help, (NotAdmitted, Waiting<J>)> {
        let mut state = self.lock();
        if state.closed {
            return Err((NotAdmitted::Closed, request));
        }
        if state.tickets.contains_key(&request.asked.id) {
            return Err((NotAdmitted::Duplicate, request));
        }
        state.last_ticket.0 += 1;
        let ticket = state.last_ticket;
        state.tickets.insert(request.asked.id.clone(), ticket);
        state.waiting_bytes += request.bytes;
        state.waiting.insert(ticket, request);
        Ok(self.call_worker(&mut state))
    }

    /// Waits until another request may be read.
    pub fn wait_for_room(&self) {
        let mut state = self.lock();
        while state.waiting_bytes >= self.limits.waiting_bytes && !state.closed {
            state = self.fewer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    #[cfg(test)]
    pub fn has_room(&self) -> bool {
        self.lock().waiting_bytes < self.limits.waiting_bytes
    }

    /// What the calling worker is to do next, `None` when it is not needed any more.
    pub fn next(&self, worker: &mut Worker) -> Option<Started<J>> {
        let mut state = self.lock();
        if mem::replace(worker, Worker::Old) == Worker::New {
            state.called = false;
        }
        let mut idle_for_long = false;
        loop {
            if self.can_start(&state) {
                let (ticket, request) = state.start_first()?;
                self.fewer.notify_all();
                return Some(Started { ticket, request, help: self.call_worker(&mut state) });
            }
            let no_more_will_come = state.closed && state.waiting.is_empty();
            // One that is called may never come.
            if no_more_will_come || (idle_for_long && state.workers > 1 && !state.called) {
                state.workers -= 1;
                return None;
            }
            state.idle += 1;
            let (guard, wait) = self.work.wait_timeout(state, IDLE_TIME).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            state.called = false;
            idle_for_long = wait.timed_out();
        }
    }

    /// Calls `answer` unless the request has been answered already; nobody else answers it meanwhile.
    ///
    /// Whoever waits for all answers sees this one only after `answer` has returned.
    pub fn finish(&self, ticket: Ticket, answer: impl FnOnce()) -> bool {
        let mut state = self.lock();
        let Some((asked, _)) = state.running.remove(&ticket) else { return false };
        state.tickets.remove(&asked.id);
        answer();
        self.fewer.notify_all();
        true
    }

    /// Ends a request that waits, or that runs and has not passed its commit point; `answer` then answers it.
    pub fn cancel(&self, id: &RequestId, answer: impl FnOnce(&Asked)) -> Help {
        let mut state = self.lock();
        let Some(&ticket) = state.tickets.get(id) else { return Help::NotNeeded };
        let Some(asked) = state.cancel(ticket) else { return Help::NotNeeded };
        state.tickets.remove(id);
        answer(&asked);
        self.fewer.notify_all();
        self.call_worker(&mut state)
    }

    /// Admits nothing more; what has been admitted is still carried out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
        self.fewer.notify_all();
    }

    /// Admits nothing more, forgets what waits and cancels what has not passed its commit point; `answer` is called
    /// with each request that is cancelled.
    pub fn abandon(&self, mut answer: impl FnMut(&Asked)) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        state.waiting_bytes = 0;
        state.running.retain(|_, (asked, cancel)| {
            let over = cancel.cancel();
            if over {
                answer(asked);
            }
            !over
        });
        self.work.notify_all();
        self.fewer.notify_all();
    }

    /// Waits until nothing waits and all that runs is answered.
    pub fn wait_until_answered(&self) {
        let mut state = self.lock();
        while !(state.waiting.is_empty() && state.running.is_empty()) {
            state = self.fewer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Idle workers have nothing to wait for any more once the session has ended.
        self.work.notify_all();
    }

    /// Looks again whether requests may be started.
    pub fn resume(&self) -> Help {
        self.call_worker(&mut self.lock())
    }

    /// Counts the worker that is made before there is any work.
    pub fn first_worker(&self) {
        self.lock().workers += 1;
    }

    /// Takes back a worker that was asked for and could not be made.
    pub fn worker_not_made(&self) {
        let mut state = self.lock();
        state.workers -= 1;
        state.called = false;
    }

    fn can_start(&self, state: &State<J>) -> bool {
        let Some((_, first)) = state.waiting.first_key_value() else { return false };
        (!first.alone || state.running.is_empty()) && (self.may_start)()
    }

    fn call_worker(&self, state: &mut State<J>) -> Help {
        if state.called || !self.can_start(state) {
            return Help::NotNeeded;
        }
        if state.idle > 0 {
            state.called = true;
            self.work.notify_one();
            return Help::NotNeeded;
        }
        if state.workers < self.limits.running {
            state.called = true;
            state.workers += 1;
            return Help::NewWorker;
        }
        Help::NotNeeded
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a worker waits for something to do before it ends; the last one stays.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Whether a worker has been there before.
#[derive(Debug, PartialEq)]
pub(super) enum Worker {
    New,
    Old,
}

impl<J> State<J> {
    fn start_first(&mut self) -> Option<(Ticket, Waiting<J>)> {
        let (ticket, request) = self.waiting.pop_first()?;
        self.waiting_bytes -= request.bytes;
        self.running.insert(ticket, (request.asked.clone(), request.cancel.clone()));
        Some((ticket, request))
    }

    /// Takes out a request that can still be cancelled; `None` if there is none or it is too late.
    fn cancel(&mut self, ticket: Ticket) -> Option<Asked> {
        let running = self.running.get(&ticket).map(|(_, cancel)| cancel);
        let cancel = running.or_else(|| self.waiting.get(&ticket).map(|request| &request.cancel))?;
        if !cancel.cancel() {
            return None;
        }
        if let Some((asked, _)) = self.running.remove(&ticket) {
            return Some(asked);
        }
        let request = self.waiting.remove(&ticket)?;
        self.waiting_bytes -= request.bytes;
        Some(request.asked)
    }
}

#[cfg(test)]
mod tests;
