//! Looks at the system calls of a process and interferes with one of them.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use crate::scene::run;

/// What happens instead of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Error(&'static str),
    /// It is carried out, but the caller is held up for so long before and again after it.
    HoldUp(Duration),
}

/// The call that a fault strikes. Threads and calls are counted by themselves: the nth call of whichever thread gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    pub call: &'static str,
    pub nth: usize,
    pub fault: Fault,
}

/// A tracer that has been attached to a process.
pub struct Strace {
    child: Child,
}

/// Why it cannot be used; `None` if it can.
pub fn missing() -> Option<&'static str> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(|| run("strace", &["-f", "-qq", "-o", "/dev/null", "true"]).err()).as_deref()
}

impl Strace {
    /// Attaches to all threads of a process; the calls are written to `log`. Returns once it sees every call.
    pub fn attach(process_id: u32, calls: &[&str], injection: Option<Injection>, log: &Path) -> Self {
        let mut command = Command::new("strace");
        options(&mut command, calls, injection, log).args(["-p", &process_id.to_string()]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        errors.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Self { child }
    }

    /// Waits until the process has ended.
    pub fn wait(mut self) {
        self.child.wait().unwrap();
    }
}

/// The same command, looked at from its start.
pub fn traced(command: &Command, calls: &[&str], injection: Option<Injection>, log: &Path) -> Command {
    let mut traced = Command::new("strace");
    options(&mut traced, calls, injection, log).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

fn options<'c>(command: &'c mut Command, calls: &[&str], injection: Option<Injection>, log: &Path) -> &'c mut Command {
    command.args(["-f", "-y", "-e", "signal=none", "-o"]).arg(log);
    match injection {
        None => command.args(["-e", &format!("trace={}", calls.join(","))]),
        Some(Injection { call, nth, fault }) => {
            let fault = match fault {
                Fault::Kill => "signal=SIGKILL".to_owned(),
                Fault::Error(error) => format!("error={error}"),
                Fault::HoldUp(time) => format!("delay_enter={0}:delay_exit={0}", time.as_micros()),
            };
            command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{fault}:when={nth}")])
        }
    }
}

/// The largest number of each call that one thread has made.
pub fn counts(log: &Path) -> BTreeMap<String, usize> {
    let mut by_thread = BTreeMap::<(&str, &str), usize>::new();
    let log = fs::read_to_string(log).unwrap();
    for line in log.lines().filter(|line| !line.contains(" resumed>")) {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        *by_thread.entry((thread, call)).or_default() += 1;
    }
    let mut counts = BTreeMap::new();
    for ((_, call), count) in by_thread {
        let most = counts.entry(call.to_owned()).or_default();
        *most = count.max(*most);
    }
    counts
}

/// The line of the call that was struck by an error.
pub fn injected(log: &Path) -> Option<String> {
    let log = fs::read_to_string(log).unwrap();
    log.lines().find(|line| line.contains("(INJECTED)")).map(str::to_owned)
}
