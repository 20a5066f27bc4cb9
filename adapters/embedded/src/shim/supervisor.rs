//! Supervises a started replica: one thread, one loop over signals, commands and output.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use apocryph_model::{Cause, Fault};
use apocryph_podlog::{ContainerLog, Lines};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};

use super::pace::Pace;
use super::runtime;
use super::start_error::StartError;
use crate::cgroup::Cgroups;
use crate::host_error::{Doing as _, HostError};
use crate::replica_files::{ContainerPlan, End, Plan, ReplicaDir, StopCommand, boot_ms, write_json};

/// The longest command, in bytes.
const MAX_COMMAND: usize = 64 << 10;
const READ: usize = 64 << 10;

/// A replica whose containers have been started.
pub(super) struct Supervisor {
    dir: ReplicaDir,
    plan: Plan,
    cgroups: Cgroups,
    signals: SignalFd,
    listener: UnixListener,
    commands: Vec<Command>,
    members: Vec<Member>,
    started_ms: u64,
    stopping: Option<Stopping>,
}

/// A container and its output.
struct Member {
    /// `None` once it has ended.
    pid: Option<Pid>,
    streams: [Option<Stream>; 2],
    log: ContainerLog,
    pace: Pace,
}

struct Stream {
    pipe: File,
    lines: Lines,
}

/// A connection to `shim.sock`, and what has come of its command.
struct Command {
    stream: UnixStream,
    bytes: Vec<u8>,
    is_open: bool,
}

struct Stopping {
    fault: Option<Fault>,
    kill_at: Option<Instant>,
}

/// What the loop waits for.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Command(usize),
    Output(usize, usize),
}

impl Supervisor {
    /// Has all containers started, at the same time, and returns when they have been.
    pub(super) fn start(
        dir: ReplicaDir,
        plan: Plan,
        listener: UnixListener,
        cgroups: Cgroups,
    ) -> Result<Self, StartError> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block().doing("block signals")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&mask, flags).doing("watch signals")?;
        listener.set_nonblocking(true).doing("listen for commands")?;
        let starting = plan.containers.iter().map(|container| begin(&dir, &plan, container));
        let starting = starting.collect::<Result<Vec<_>, _>>()?;
        let started_ms = boot_ms().doing("read the clock")?;
        let members = starting.into_iter().map(|(starting, mut member)| {
            member.pid = Some(starting.wait()?);
            Ok(member)
        });
        let members = members.collect::<Result<Vec<_>, StartError>>()?;
        let (commands, stopping) = (Vec::new(), None);
        Ok(Self { dir, plan, cgroups, signals, listener, commands, members, started_ms, stopping })
    }

    /// Returns when the replica has ended, and its end is noted.
    pub(super) fn supervise(mut self) -> Result<(), HostError> {
        while self.members.iter().any(Member::is_open) {
            for source in self.wait().doing("wait for the containers")? {
                self.handle(source).doing("supervise the containers")?;
            }
            self.commands.retain(|command| command.is_open);
            self.kill_if_overdue();
        }
        self.note_end().doing("note the end")
    }

    /// The sources that have something, at the latest when the grace is over, or a container may
    /// write again.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let now = Instant::now();
        let sources = self.sources(now);
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, self.timeout(now)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = fds.iter().zip(&sources).filter(|(fd, _)| fd.any().unwrap_or(true));
        Ok(ready.map(|(_, (source, _))| *source).collect())
    }

    fn sources(&self, now: Instant) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut sources =
            vec![(Source::Signals, self.signals.as_fd()), (Source::Listener, self.listener.as_fd())];
        let commands = self.commands.iter().enumerate();
        sources.extend(commands.map(|(n, command)| (Source::Command(n), command.stream.as_fd())));
        let open = self.members.iter().enumerate().filter(|(_, member)| member.pace.wait(now).is_none());
        for (m, member) in open {
            let streams = member.streams.iter().enumerate();
            sources.extend(
                streams.filter_map(|(s, stream)| Some((Source::Output(m, s), stream.as_ref()?.pipe.as_fd()))),
            );
        }
        sources
    }

    fn timeout(&self, now: Instant) -> PollTimeout {
        let kill_at = self.stopping.as_ref().and_then(|stopping| stopping.kill_at);
        let left = kill_at.map(|at| at.saturating_duration_since(now));
        let left =
            left.into_iter().chain(self.members.iter().filter_map(|member| member.pace.wait(now))).min();
        // Rounded up, or the last millisecond would be spent asking.
        let millis = left.map(|left| u32::try_from(left.as_millis() + 1).unwrap_or(u32::MAX));
        millis.map_or(PollTimeout::NONE, |ms| PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX))
    }

    fn handle(&mut self, source: Source) -> io::Result<()> {
        match source {
            Source::Signals => {
                while self.signals.read_signal()?.is_some() {}
                self.reap()
            }
            Source::Listener => self.accept(),
            Source::Command(n) => {
                self.read_command(n);
                Ok(())
            }
            Source::Output(member, stream) => self.members[member].read(stream),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        self.commands.push(Command { stream, bytes: Vec::new(), is_open: true });
        Ok(())
    }

    fn read_command(&mut self, n: usize) {
        let command = &mut self.commands[n];
        let mut buffer = [0; 4096];
        match command.stream.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(read) if read > 0 && command.bytes.len() + read <= MAX_COMMAND => {
                command.bytes.extend_from_slice(&buffer[..read]);
            }
            // Its daemon has ended, or is none.
            _ => command.is_open = false,
        }
        if command.bytes.ends_with(b"\n") {
            let bytes = std::mem::take(&mut command.bytes);
            if let Ok(StopCommand { fault, at_once }) = serde_json::from_slice(&bytes) {
                self.stop(fault);
                if let (Some(stopping), true) = (&mut self.stopping, at_once) {
                    stopping.kill_at = Some(Instant::now());
                }
            }
        }
    }

    /// Takes note of all children that have ended, orphans of containers among them.
    fn reap(&mut self) -> io::Result<()> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => self.take_note(status),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_note(&mut self, status: WaitStatus) {
        let ended = self.members.iter().position(|member| member.pid == status.pid());
        let Some(ended) = ended.filter(|_| status.pid().is_some()) else { return };
        self.members[ended].pid = None;
        let fault = self.fault_of(&self.plan.containers[ended], status);
        self.stop(Some(fault));
    }

    fn fault_of(&self, container: &ContainerPlan, status: WaitStatus) -> Fault {
        let ContainerPlan { name, memory, cgroup, .. } = container;
        if self.cgroups.ran_out_of_memory(cgroup) {
            let text = format!("container {name} needed more than its memory, {memory}: give it more");
            return Fault::of(Cause::OutOfMemory, text);
        }
        let how = match status {
            WaitStatus::Exited(_, code) => format!("ended by itself with exit code {code}"),
            WaitStatus::Signaled(_, signal, _) => format!("was ended by the signal {signal}"),
            _ => "ended".into(),
        };
        Fault::of(Cause::ContainerEnded, format!("container {name} {how}: its log may say why"))
    }

    /// Asks all containers to end. The first reason is the one that counts.
    fn stop(&mut self, fault: Option<Fault>) {
        if self.stopping.is_some() {
            return;
        }
        let kill_at = Instant::now().checked_add(self.plan.stop_grace);
        self.stopping = Some(Stopping { fault, kill_at });
        for (member, container) in self.members.iter().zip(&self.plan.containers) {
            member.signal(stop_signal(container.stop_signal.as_deref()));
        }
    }

    fn kill_if_overdue(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        if stopping.kill_at.is_some_and(|at| at <= Instant::now()) {
            stopping.kill_at = None;
            self.members.iter().for_each(|member| member.signal(Signal::SIGKILL));
        }
    }

    fn note_end(self) -> io::Result<()> {
        let (ingress, egress) = traffic(&std::fs::read_to_string("/proc/net/dev")?).unwrap_or_default();
        let end = End {
            running_ms: boot_ms()?.saturating_sub(self.started_ms),
            ingress,
            egress,
            fault: self.stopping.and_then(|stopping| stopping.fault),
        };
        write_json(&self.dir.end(), &end)
    }
}

impl Member {
    fn is_open(&self) -> bool {
        self.pid.is_some() || self.streams.iter().any(Option::is_some)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // It is not waited for yet, so the number is its own. If it has ended, all is well.
            let _ = kill(pid, signal);
        }
    }

    fn read(&mut self, stream: usize) -> io::Result<()> {
        let Some(Stream { pipe, lines }) = &mut self.streams[stream] else { return Ok(()) };
        let mut buffer = [0; READ];
        match pipe.read(&mut buffer) {
            Ok(0) => {
                lines.finish(stream == 1, &mut self.log);
                self.streams[stream] = None;
            }
            Ok(read) => {
                let written = lines.take(&buffer[..read], stream == 1, &mut self.log);
                self.pace.take(written, Instant::now());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn begin(
    dir: &ReplicaDir,
    plan: &Plan,
    container: &ContainerPlan,
) -> Result<(runtime::Starting, Member), HostError> {
    let log = plan.logs.join(format!("{}.{}.log", plan.replica, container.name));
    let log = ContainerLog::create(log).doing("create a log file")?;
    let pipe = || pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing("make a pipe");
    let ((stdout, stdout_end), (stderr, stderr_end)) = (pipe()?, pipe()?);
    let starting = runtime::begin(plan, container, &dir.container(&container.name), stdout_end, stderr_end)?;
    let stream = |pipe: std::os::fd::OwnedFd| Some(Stream { pipe: pipe.into(), lines: Lines::default() });
    let (streams, pace) = ([stream(stdout), stream(stderr)], Pace::new(Instant::now()));
    Ok((starting, Member { pid: None, streams, log, pace }))
}

/// By name, with or without `SIG`, or number; SIGTERM for what is none.
fn stop_signal(text: Option<&str>) -> Signal {
    let text = text.unwrap_or_default();
    let by_number = text.parse().ok().and_then(|number: i32| Signal::try_from(number).ok());
    let by_name = || format!("SIG{}", text.trim_start_matches("SIG")).parse().ok();
    by_number.or_else(by_name).unwrap_or(Signal::SIGTERM)
}

/// Bytes received and sent by `eth0`, from proc_net(5) `dev`.
fn traffic(text: &str) -> Option<(u64, u64)> {
    let counters = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"))?;
    let mut counters = counters.split_whitespace();
    Some((counters.next()?.parse().ok()?, counters.nth(7)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_are_names_or_numbers() {
        assert_eq!(stop_signal(Some("SIGQUIT")), Signal::SIGQUIT);
        assert_eq!(stop_signal(Some("INT")), Signal::SIGINT);
        assert_eq!(stop_signal(Some("9")), Signal::SIGKILL);
        assert_eq!(stop_signal(Some("nonsense")), Signal::SIGTERM);
        assert_eq!(stop_signal(None), Signal::SIGTERM);
    }

    #[test]
    fn traffic_is_that_of_the_replicas_link() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes\n    \
                    lo:     999       1    0    0    0     0          0         0      999       1\n  \
                    eth0: 1042  11    0    0    0     0          0         0     2044      22    0\n";
        assert_eq!(traffic(text), Some((1042, 2044)));
        assert_eq!(traffic(""), None);
    }
}
