//! Finding the daemon.

use std::{io, time::Duration};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

const CONNECT_TIME: Duration = Duration::from_secs(3);

/// Why there is no connection.
pub(crate) enum Missed {
    /// Nobody listens there: there is no daemon.
    Nobody,
    /// It cannot be told.
    Unknown(io::Error),
}

/// Connects to the first of its addresses that answers.
pub(crate) async fn connect(daemon: &str) -> Result<TcpStream, Missed> {
    let addresses = timeout(CONNECT_TIME, lookup_host(daemon)).await;
    let addresses = addresses.map_err(|_| Missed::Unknown(io::ErrorKind::TimedOut.into()))?;
    let mut nobody = true;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses.map_err(Missed::Unknown)? {
        let connected = timeout(CONNECT_TIME, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                nobody &= error.kind() == io::ErrorKind::ConnectionRefused;
                last = error;
            }
        }
    }
    if nobody && last.kind() == io::ErrorKind::ConnectionRefused {
        Err(Missed::Nobody)
    } else {
        Err(Missed::Unknown(last))
    }
}
