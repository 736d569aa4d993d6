//! Notices that the client's process has died, which it can not always say itself.

#[cfg(unix)]
pub(super) use unix::ClientProcess;

#[cfg(not(unix))]
pub(super) use other::ClientProcess;

#[cfg(unix)]
mod unix {
    use std::{
        io::{self, Read},
        os::unix::net::UnixStream,
    };

    use rustix::process::Pid;

    use crate::server::transport::spawn;

    /// A watched process; dropping it ends the watch.
    pub struct ClientProcess {
        /// Closed with this value, which the watching thread notices.
        _keeps_watching: UnixStream,
    }

    impl ClientProcess {
        /// Calls `died` once the process has ended, also when there is none with this id now.
        ///
        /// `None` if it can not be watched, which is logged.
        pub fn watch(id: u32, died: impl FnOnce() + Send + 'static) -> Option<Self> {
            let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
            let watch = pid.ok_or_else(|| io::Error::other("not a process id")).and_then(|pid| {
                let (_keeps_watching, unwatched) = UnixStream::pair()?;
                spawn("ploke-client", move || {
                    if let Ok(true) = wait_for_death(pid, unwatched) {
                        died();
                    }
                })?;
                Ok(Self { _keeps_watching })
            });
            watch.inspect_err(|error| tracing::warn!(id, %error, "the client's process can not be watched")).ok()
        }
    }

    /// Waits until the process has ended, or until the other end of `unwatched` is closed; whether it has ended.
    #[cfg(target_os = "linux")]
    fn wait_for_death(pid: Pid, unwatched: UnixStream) -> io::Result<bool> {
        use rustix::{
            event::{PollFd, PollFlags, poll},
            io::Errno,
            process::{PidfdFlags, pidfd_open},
        };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => return Ok(true),
            // Kernels before 5.3, or a sandbox that does not know the call.
            Err(_) => return look_now_and_then(pid, unwatched),
        };
        let mut both = [PollFd::new(&process, PollFlags::IN), PollFd::new(&unwatched, PollFlags::IN)];
        loop {
            match poll(&mut both, None) {
                Ok(_) => return Ok(!both[0].revents().is_empty()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    use look_now_and_then as wait_for_death;

    fn look_now_and_then(pid: Pid, mut unwatched: UnixStream) -> io::Result<bool> {
        use rustix::{io::Errno, process::test_kill_process};
        unwatched.set_read_timeout(Some(std::time::Duration::from_secs(3)))?;
        loop {
            if test_kill_process(pid) == Err(Errno::SRCH) {
                return Ok(true);
            }
            match unwatched.read(&mut [0]) {
                Ok(_) => return Ok(false),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::{process::Command, sync::mpsc};

        use super::*;

        #[test]
        fn a_process_that_never_was_is_dead() {
            let mut child = Command::new("true").spawn().unwrap();
            let id = child.id();
            child.wait().unwrap();
            let (died, deaths) = mpsc::channel();
            let _watch = ClientProcess::watch(id, move || died.send(()).unwrap());
            deaths.recv().unwrap();
        }

        #[test]
        fn a_process_that_is_killed_is_dead_although_nobody_has_waited_for_it() {
            let mut child = Command::new("sleep").arg("600").spawn().unwrap();
            let (died, deaths) = mpsc::channel();
            let _watch = ClientProcess::watch(child.id(), move || died.send(()).unwrap());
            child.kill().unwrap();
            deaths.recv().unwrap();
            child.wait().unwrap();
        }

        #[test]
        fn a_watch_that_is_dropped_tells_nothing_and_ends() {
            let (died, deaths) = mpsc::channel::<()>();
            drop(ClientProcess::watch(std::process::id(), move || died.send(()).unwrap()));
            // The sender goes with the watching thread.
            assert_eq!(deaths.recv(), Err(mpsc::RecvError));
        }

        #[test]
        fn looking_now_and_then_notices_both_ends() {
            let (kept, unwatched) = UnixStream::pair().unwrap();
            let mut child = Command::new("true").spawn().unwrap();
            let pid = Pid::from_child(&child);
            child.wait().unwrap();
            assert!(look_now_and_then(pid, unwatched.try_clone().unwrap()).unwrap());
            drop(kept);
            assert!(!look_now_and_then(rustix::process::getpid(), unwatched).unwrap());
        }

        #[test]
        fn what_is_no_process_id_is_not_watched() {
            for id in [0, u32::MAX] {
                assert!(ClientProcess::watch(id, || panic!("nothing has died")).is_none());
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    /// Not watched on this system, where the end of input has to tell.
    pub struct ClientProcess {}

    impl ClientProcess {
        pub fn watch(_: u32, _: impl FnOnce() + Send + 'static) -> Option<Self> {
            None
        }
    }
}
