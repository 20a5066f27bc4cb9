//! The daemon's end of the readers' connections.

use super::{
    message::{NodeName, PodReading, PodUid, ToDaemon, ToReader, VERSION},
    readers::{ANSWER_TIME, Admitted, Ask, NodeReaders},
};
use crate::secure::{self, LinkError, Reader, Writer};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

/// Connections at once of which it is not known yet whose they are; in all, and of one address, so
/// that no stranger keeps readers out.
const STRANGERS: usize = 256;
const STRANGERS_OF_ONE: usize = 16;
const HELLO_TIME: Duration = Duration::from_secs(5);
/// How often a reader is asked for something, be it nothing.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Lets readers in.
pub(super) async fn accept(readers: &NodeReaders, listener: TcpListener) {
    let strangers = Strangers::default();
    let mut sessions = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match strangers.admit(peer.ip()) {
                Some(place) => drop(sessions.spawn(meet(readers.clone(), stream, place))),
                None => debug!(%peer, "too many connections that may be readers"),
            },
            Err(error) => {
                warn!(%error, "no link to a node's reader can be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
        while sessions.try_join_next().is_some() {}
    }
}

/// Serves one connection to its end.
async fn meet(readers: NodeReaders, stream: TcpStream, place: Place) {
    let met = async {
        let (mut reader, writer) = secure::respond(stream, readers.token()).await?;
        let hello = timeout(HELLO_TIME, reader.receive()).await.map_err(|_| LinkError::Silent)??;
        Ok((reader, writer, hello))
    };
    let met: Result<_, LinkError> = met.await;
    let peer = place.address;
    drop(place);
    let ended = match met {
        Ok((reader, writer, ToDaemon::Hello { version: VERSION, node })) => {
            serve(readers, &node, reader, writer).await
        }
        Ok((_, writer, ToDaemon::Check { version: VERSION })) => tell(&readers, writer).await,
        Ok(_) => Err(LinkError::Senseless),
        // Strangers do not fill the log.
        Err(error) => return debug!(%peer, %error, "no reader connects"),
    };
    if let Err(error) = ended {
        warn!(%peer, %error, "the link to a node's reader ended");
    }
}

async fn tell(readers: &NodeReaders, mut writer: Writer) -> Result<(), LinkError> {
    let nodes = readers.nodes().into_iter().collect();
    writer.send(&ToReader::Connected { nodes }).await
}

async fn serve(
    readers: NodeReaders,
    node: &NodeName,
    reader: Reader,
    writer: Writer,
) -> Result<(), LinkError> {
    let Some(Admitted { number, asks }) = readers.join(node) else {
        warn!(%node, "there are too many readers: one is not let in");
        return Ok(());
    };
    info!(%node, "a node's reader is connected");
    let ended = ask(reader, writer, asks).await;
    readers.lose(node, number);
    let why = ended.err().map(|error| error.to_string());
    info!(%node, why, "a node's reader is not connected any more");
    Ok(())
}

/// Asks what is to be asked, one after the other; at first for nothing, so that the reader knows that it is let in.
async fn ask(mut reader: Reader, mut writer: Writer, mut asks: mpsc::Receiver<Ask>) -> Result<(), LinkError> {
    let mut pause = Duration::ZERO;
    loop {
        let next = tokio::select! {
            next = timeout(std::mem::replace(&mut pause, HEARTBEAT), asks.recv()) => next,
            // A reader speaks when it is asked: this is its end.
            said = reader.receive::<ToDaemon>() => return Err(said.err().unwrap_or(LinkError::Senseless)),
        };
        let Ask { pods, answer } = match next {
            Ok(Some(ask)) => ask,
            Ok(None) => return Ok(()),
            Err(_) => Ask { pods: Vec::new(), answer: oneshot::channel().0 },
        };
        let asked = async {
            writer.send(&ToReader::Read { pods: pods.clone() }).await?;
            reader.receive().await
        };
        match timeout(ANSWER_TIME, asked).await.map_err(|_| LinkError::Silent)?? {
            // Whoever asked may have left.
            ToDaemon::Readings { pods: readings } => drop(answer.send(asked_for(&pods, readings))),
            ToDaemon::Hello { .. } | ToDaemon::Check { .. } => return Err(LinkError::Senseless),
        }
    }
}

fn asked_for(pods: &[PodUid], mut readings: Vec<PodReading>) -> Vec<PodReading> {
    let asked: HashSet<_> = pods.iter().collect();
    readings.retain(|reading| asked.contains(&reading.uid));
    readings
}

/// How many connections of each address are still strangers'.
#[derive(Default)]
struct Strangers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// The place of one, until it is dropped.
struct Place {
    places: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Strangers {
    fn admit(&self, address: IpAddr) -> Option<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = places.values().sum::<usize>() >= STRANGERS;
        if full || places.get(&address).is_some_and(|count| *count >= STRANGERS_OF_ONE) {
            return None;
        }
        *places.entry(address).or_default() += 1;
        Some(Place { places: self.0.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = places.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_bounds() {
        let strangers = Strangers::default();
        let address = |last: usize| IpAddr::from([10, 0, 0, u8::try_from(last).unwrap()]);
        let one: Vec<_> = (0..20).filter_map(|_| strangers.admit(address(0))).collect();
        assert_eq!(one.len(), STRANGERS_OF_ONE);
        let all: Vec<_> = (1..250).filter_map(|n| strangers.admit(address(n))).collect();
        assert_eq!(one.len() + all.len(), STRANGERS);
        drop((one, all));
        assert!(strangers.admit(address(0)).is_some() && strangers.0.lock().unwrap().is_empty());
    }
}
