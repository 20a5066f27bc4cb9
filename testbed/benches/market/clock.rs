//! The clock of a request: from its last byte sent until the first byte of its answer is there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use apocryph_testbed::cli::Said;
use nix::time::{ClockId, clock_gettime};
use serde::Deserialize;

/// A server that still starts is dialled again after this.
const RETRY: Duration = Duration::from_millis(1);

/// Where a pod is reached.
pub(crate) struct Door {
    pub(crate) gateway: SocketAddr,
    pub(crate) host: String,
}

/// What a server answered.
pub(crate) struct Answer {
    /// When its first byte was there, by the monotonic clock.
    at: Duration,
    body: String,
}

/// How long an answer was on its way, the server's own work left out, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnTheWay {
    /// Since the server accepted its first connection.
    pub(crate) since_accept: f64,
    /// Since it listens.
    pub(crate) since_listening: f64,
}

/// The times of `images::clock`, in nanoseconds of the monotonic clock.
#[derive(Deserialize)]
struct Times {
    listening: u64,
    accepted: u64,
    read: u64,
    answered: u64,
}

/// The monotonic clock, which is the same one for all programs of this machine.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into()
}

impl Door {
    /// The first one that a deploy tells of.
    pub(crate) fn of(deployed: &Said) -> Self {
        let gateway = deployed.text("/endpoints/0/gateway").unwrap().parse().unwrap();
        Self { gateway, host: deployed.text("/endpoints/0/host").unwrap().into() }
    }

    /// How long its first byte takes, over a connection that was there before.
    pub(crate) fn first_byte(&self) -> Duration {
        self.answer().0
    }

    /// The same, with what was answered.
    pub(crate) fn answer(&self) -> (Duration, Answer) {
        let stream = TcpStream::connect(self.gateway).unwrap();
        let begun = now();
        let answer = ask(stream, &self.host);
        (answer.at - begun, answer)
    }
}

impl Answer {
    /// How long its first byte took since a time.
    pub(crate) fn since(&self, begun: Duration) -> Duration {
        self.at - begun
    }

    /// Of a server of `images::clock` that was asked for the first time.
    pub(crate) fn on_the_way(&self) -> OnTheWay {
        let times: Times = serde_json::from_str(&self.body).unwrap();
        let own = Duration::from_nanos(times.answered - times.read);
        let since = |begun| (self.at - Duration::from_nanos(begun) - own).as_secs_f64() * 1000.0;
        OnTheWay { since_accept: since(times.accepted), since_listening: since(times.listening) }
    }
}

/// Dials until the server listens; returns with its answer.
pub(crate) fn wait_for_answer(server: SocketAddr) -> Answer {
    loop {
        match TcpStream::connect(server) {
            Ok(stream) => return ask(stream, "localhost"),
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}

fn ask(mut stream: TcpStream, host: &str) -> Answer {
    stream.set_nodelay(true).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    let at = now();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(&status[8..] == b" 200", "{}{rest}", String::from_utf8_lossy(&status));
    let body = rest.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Answer { at, body: body.unwrap_or_default() }
}
