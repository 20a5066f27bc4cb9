//! The clock of a request: from its last byte sent until the first byte of its answer is there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use apocryph_testbed::cli::Said;

/// A server that still starts is dialled again after this.
const RETRY: Duration = Duration::from_millis(1);

/// Where a pod is reached.
pub(crate) struct Door {
    pub(crate) gateway: SocketAddr,
    pub(crate) host: String,
}

impl Door {
    /// The first one that a deploy tells of.
    pub(crate) fn of(deployed: &Said) -> Self {
        let gateway = deployed.text("/endpoints/0/gateway").unwrap().parse().unwrap();
        Self { gateway, host: deployed.text("/endpoints/0/host").unwrap().into() }
    }

    /// How long its first byte takes, over a connection that was there before.
    pub(crate) fn first_byte(&self) -> Duration {
        let stream = TcpStream::connect(self.gateway).unwrap();
        let begun = Instant::now();
        ask(stream, &self.host);
        begun.elapsed()
    }
}

/// Dials until the server listens; returns with the first bytes of its answer.
pub(crate) fn wait_for_answer(server: SocketAddr) {
    loop {
        match TcpStream::connect(server) {
            Ok(stream) => return ask(stream, "localhost"),
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}

fn ask(mut stream: TcpStream, host: &str) {
    stream.set_nodelay(true).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    if &status[8..] != b" 200" {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        panic!("{}{rest}", String::from_utf8_lossy(&status));
    }
}
