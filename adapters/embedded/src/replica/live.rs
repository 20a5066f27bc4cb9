//! A replica whose shim is there.

use std::io;
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use crate::network::Traffic;
use crate::replica_files::{Record, ReplicaDir, StopCommand};

/// A replica whose shim is there; the connection to it ends when the shim does.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) record: Record,
    commands: tokio::sync::Mutex<OwnedWriteHalf>,
    shim: Option<Pid>,
    seen: Mutex<Seen>,
    gone: watch::Sender<bool>,
}

/// The highest that was read so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) cpu_us: u64,
    pub(super) running_ms: u64,
    pub(super) traffic: Traffic,
}

impl Live {
    /// Connects to the replica's shim; an error where there is none (any more).
    pub(super) async fn connect(dir: &ReplicaDir, record: Record) -> io::Result<(Self, OwnedReadHalf)> {
        let stream = UnixStream::connect(dir.socket()).await?;
        // The shim's number in this namespace, of the time when it began to listen.
        let shim = stream.peer_cred()?.pid().map(Pid::from_raw);
        let (read, write) = stream.into_split();
        let (commands, seen) = (tokio::sync::Mutex::new(write), Mutex::default());
        Ok((Self { record, commands, shim, seen, gone: watch::Sender::new(false) }, read))
    }

    /// Asks the shim to end the replica.
    pub(super) async fn ask_to_stop(&self, command: &StopCommand) -> io::Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        self.commands.lock().await.write_all(&line).await
    }

    /// Kills the shim, which takes everything with it. While the connection stands the number is
    /// its own.
    pub(super) fn kill(&self) -> io::Result<()> {
        match self.shim {
            Some(shim) if !*self.gone.borrow() => Ok(kill(shim, Signal::SIGKILL)?),
            _ => Ok(()),
        }
    }

    /// Returns when the replica has ended and is cleared away.
    pub(super) async fn gone(&self) {
        // The sender is this value's own.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    pub(super) fn set_gone(&self) {
        self.gone.send_replace(true);
    }

    /// Takes note of a reading and gives the highest so far: readings never go back.
    pub(super) fn see(&self, now: Seen) -> Seen {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.cpu_us = seen.cpu_us.max(now.cpu_us);
        seen.running_ms = seen.running_ms.max(now.running_ms);
        seen.traffic.ingress = seen.traffic.ingress.max(now.traffic.ingress);
        seen.traffic.egress = seen.traffic.egress.max(now.traffic.egress);
        *seen
    }
}

/// Returns when the shim has closed its end.
pub(super) async fn until_closed(mut connection: OwnedReadHalf) {
    // It never sends anything.
    while matches!(connection.read(&mut [0]).await, Ok(1..)) {}
}
