//! The requests that have been received and not been answered, and what each thread of a session does next.

mod values;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub(super) use values::{Asked, Help, Limits, NotAdmitted, Ticket, Turn, Waiting, Worker};

use crate::{CancelToken, server::method::RequestId};

/// Requests in flight: they wait in the order they came, run on a bounded number of workers, and are answered once.
///
/// Waking a thread costs about as much as carrying out a short request. So whoever has read requests carries them out
/// and reads on afterwards; another worker is called at once only when several wait. But nothing may have to wait for a
/// request that takes long, be it reading, writing or a request: whenever there is something to do, one worker
/// [watches](Self::watch), and begins what nobody else has begun for a [`TICK`].
pub(super) struct InFlight<J> {
    state: Mutex<State<J>>,
    /// For idle workers: one is called, or no more will come.
    work: Condvar,
    /// For the worker that watches: no more will come.
    tick: Condvar,
    /// For the end of the session: fewer requests wait or run.
    fewer: Condvar,
    limits: Limits,
    /// Whether requests may be started now; asked with the lock held.
    may_start: Box<dyn Fn() -> bool + Send + Sync>,
}

struct State<J> {
    waiting: BTreeMap<Ticket, Waiting<J>>,
    waiting_bytes: usize,
    /// Begun and not answered.
    running: HashMap<Ticket, (Asked, CancelToken)>,
    /// Every request that waits or runs.
    tickets: HashMap<RequestId, Ticket>,
    last_ticket: Ticket,
    idle: usize,
    /// Workers that carry out a request, also if it has been cancelled.
    busy: usize,
    /// A worker has been called and has not come yet; one at a time is.
    called: bool,
    /// A worker watches that nothing is left undone.
    watched: bool,
    /// As many may be busy before it is known that they take long; each that comes then calls the next.
    hands: usize,
    /// Answers that nobody has begun to write.
    unwritten: usize,
    /// A worker reads.
    reading: bool,
    input_ended: bool,
    closed: bool,
    begun: Begun,
}

/// How often something was begun.
#[derive(Clone, Copy, Default, PartialEq)]
struct Begun {
    requests: u64,
    reading: u64,
    writing: u64,
}

/// What nobody has begun for a tick.
#[derive(Clone, Copy, Default, PartialEq)]
struct Undone {
    requests: bool,
    reading: bool,
    writing: bool,
}

impl<J> InFlight<J> {
    pub fn new(limits: Limits, may_start: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let state = State {
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            running: HashMap::new(),
            tickets: HashMap::new(),
            last_ticket: Ticket(0),
            idle: 0,
            busy: 0,
            called: false,
            watched: false,
            hands: limits.short,
            unwritten: 0,
            reading: false,
            input_ended: false,
            closed: false,
            begun: Begun::default(),
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            tick: Condvar::new(),
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
        Ok(self.have_watched(&mut state))
    }

    /// Whether another request may be read.
    pub fn has_room(&self) -> bool {
        self.lock().waiting_bytes < self.limits.waiting_bytes
    }

    /// What the calling worker is to do next, `None` when it is not needed any more.
    pub fn next(&self, worker: Worker) -> Option<(Turn<J>, Help)> {
        let mut state = self.lock();
        match worker {
            Worker::Called => state.called = false,
            Worker::HasRead => state.reading = false,
            Worker::First | Worker::HasWritten => {}
            Worker::HasCarriedOut => {
                state.busy -= 1;
                state.hands = state.hands.min(state.busy + self.limits.short);
            }
        }
        let mut may_read = worker != Worker::Called;
        let mut idle_for_long = false;
        loop {
            if let Some(turn) = self.take_turn(&mut state, may_read) {
                return Some((turn, self.call_next(&mut state)));
            }
            if state.is_over() {
                return None;
            }
            if self.is_anything_to_do(&state) && !state.watched {
                let undone;
                (state, undone) = self.watch(state);
                if undone.reading {
                    return Some((state.begin_reading(), self.call_next(&mut state)));
                }
                if undone.writing {
                    return Some((state.begin_writing(), self.call_next(&mut state)));
                }
            } else if idle_for_long {
                return None;
            } else {
                (state, idle_for_long) = self.idle(state);
                may_read = false;
            }
        }
    }

    /// Reads nothing more.
    pub fn end_input(&self) {
        self.lock().input_ended = true;
    }

    /// Calls `answer` unless the request has been answered already; nobody else answers it meanwhile.
    ///
    /// Whoever waits for all answers sees this one only after `answer` has returned.
    pub fn finish(&self, ticket: Ticket, answer: impl FnOnce()) -> bool {
        let mut state = self.lock();
        let Some((asked, _)) = state.running.remove(&ticket) else { return false };
        state.tickets.remove(&asked.id);
        answer();
        state.unwritten += 1;
        self.tell_fewer(&state);
        true
    }

    /// Ends a request that waits, or that runs and has not passed its commit point; `answer` then answers it.
    pub fn cancel(&self, id: &RequestId, answer: impl FnOnce(&Asked)) -> Help {
        let mut state = self.lock();
        let Some(&ticket) = state.tickets.get(id) else { return Help::NotNeeded };
        let Some(asked) = state.cancel(ticket) else { return Help::NotNeeded };
        state.tickets.remove(id);
        answer(&asked);
        self.tell_fewer(&state);
        self.have_watched(&mut state)
    }

    /// Admits nothing more; what has been admitted is still carried out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake_all();
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
        self.wake_all();
    }

    /// Waits until nothing waits and all that runs is answered.
    pub fn wait_until_answered(&self) {
        let mut state = self.lock();
        while !(state.waiting.is_empty() && state.running.is_empty()) {
            state = self.fewer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Workers have nothing to wait for any more once the session has ended.
        self.wake_all();
    }

    /// Looks again whether requests may be started.
    pub fn resume(&self) -> Help {
        self.call_next(&mut self.lock())
    }

    /// Takes back the call of a worker that could not be made.
    pub fn worker_not_made(&self) {
        self.lock().called = false;
    }

    fn take_turn(&self, state: &mut State<J>, may_read: bool) -> Option<Turn<J>> {
        if state.unwritten < AT_ONCE && self.can_start_now(state) {
            let (ticket, request) = state.start_first()?;
            self.tell_fewer(state);
            return Some(Turn::CarryOut(ticket, request));
        }
        if state.unwritten > 0 {
            return Some(state.begin_writing());
        }
        if may_read && self.can_read(state) {
            return Some(state.begin_reading());
        }
        None
    }

    /// Calls a worker if there is something for it to do at once, or nobody who watches what is left to do.
    fn call_next(&self, state: &mut State<J>) -> Help {
        if self.can_start_now(state) { self.call(state) } else { self.have_watched(state) }
    }

    /// Calls a worker if something is left to do and nobody watches.
    fn have_watched(&self, state: &mut State<J>) -> Help {
        if state.watched || !self.is_anything_to_do(state) {
            return Help::NotNeeded;
        }
        self.call(state)
    }

    fn call(&self, state: &mut State<J>) -> Help {
        if state.called {
            return Help::NotNeeded;
        }
        state.called = true;
        if state.idle > 0 {
            self.work.notify_one();
            return Help::NotNeeded;
        }
        Help::NewWorker
    }

    /// Waits until something has been left undone for a tick, which it returns, or until nothing is left to do.
    fn watch<'a>(&self, mut state: MutexGuard<'a, State<J>>) -> (MutexGuard<'a, State<J>>, Undone) {
        state.watched = true;
        loop {
            let before = state.begun;
            state = self.tick.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
            let undone = Undone {
                requests: state.begun.requests == before.requests && self.can_start(&state),
                reading: state.begun.reading == before.reading && self.can_read(&state),
                writing: state.begun.writing == before.writing && state.unwritten > 0,
            };
            if undone.requests {
                state.hands = 2 * state.busy.max(self.limits.short);
            }
            if undone != Undone::default() || state.begun == before || state.is_over() {
                state.watched = false;
                return (state, undone);
            }
        }
    }

    /// Waits for a call; whether none has come for long. One worker stays.
    fn idle<'a>(&self, mut state: MutexGuard<'a, State<J>>) -> (MutexGuard<'a, State<J>>, bool) {
        state.idle += 1;
        let mut idle_for_long = false;
        if state.idle == 1 {
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        } else {
            let (guard, wait) = self.work.wait_timeout(state, IDLE_TIME).unwrap_or_else(PoisonError::into_inner);
            (state, idle_for_long) = (guard, wait.timed_out());
        }
        state.idle -= 1;
        state.called = false;
        (state, idle_for_long)
    }

    fn is_anything_to_do(&self, state: &State<J>) -> bool {
        state.unwritten > 0 || self.can_start(state) || self.can_read(state)
    }

    fn can_start(&self, state: &State<J>) -> bool {
        let Some((_, first)) = state.waiting.first_key_value() else { return false };
        state.busy < self.limits.running && (!first.alone || state.running.is_empty()) && (self.may_start)()
    }

    fn can_start_now(&self, state: &State<J>) -> bool {
        state.busy < state.hands && self.can_start(state)
    }

    fn can_read(&self, state: &State<J>) -> bool {
        let over = state.reading || state.input_ended || state.closed;
        !over && state.waiting_bytes < self.limits.waiting_bytes
    }

    fn tell_fewer(&self, state: &State<J>) {
        if state.closed {
            self.fewer.notify_all();
        }
    }

    fn wake_all(&self) {
        self.work.notify_all();
        self.tick.notify_all();
        self.fewer.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a worker waits for something to do before it ends.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// What may take so long before something else is begun beside it.
const TICK: Duration = Duration::from_millis(1);

/// Answers that are written at once while there is more to do: a client that sleeps is not woken for each of them.
const AT_ONCE: usize = 16;

impl<J> State<J> {
    fn start_first(&mut self) -> Option<(Ticket, Waiting<J>)> {
        let (ticket, request) = self.waiting.pop_first()?;
        self.waiting_bytes -= request.bytes;
        self.running.insert(ticket, (request.asked.clone(), request.cancel.clone()));
        self.busy += 1;
        self.begun.requests += 1;
        Some((ticket, request))
    }

    fn is_over(&self) -> bool {
        self.closed && self.waiting.is_empty()
    }

    fn begin_writing(&mut self) -> Turn<J> {
        self.unwritten = 0;
        self.begun.writing += 1;
        Turn::Write
    }

    fn begin_reading(&mut self) -> Turn<J> {
        self.reading = true;
        self.begun.reading += 1;
        Turn::Read
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
