//! The daemon's end of one connection.

use super::{
    connections::Admitted,
    hub::Inner,
    message::{ACTIVITIES, LONGEST_NAME, PodActivity, ToDaemon, ToGateway, VERSION},
};
use crate::secure::{self, LinkError, Reader, Writer};
use apocryph_gateway::GatewayId;
use apocryph_model::ChannelId;
use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

const HELLO_TIME: Duration = Duration::from_secs(5);

struct Session {
    inner: Arc<Inner>,
    id: GatewayId,
    /// Pods whose start it waits for.
    starting: Arc<Mutex<HashSet<ChannelId>>>,
    starts: TaskTracker,
}

/// Serves one connection to its end.
pub(crate) async fn serve(inner: Arc<Inner>, stream: TcpStream) -> Result<(), LinkError> {
    let (mut reader, mut writer) = secure::respond(stream, &inner.token).await?;
    let hello = timeout(HELLO_TIME, reader.receive()).await.map_err(|_| LinkError::Silent)??;
    let (name, run) = greeted(hello)?;
    let lease_ms = u64::try_from(inner.connections.lease().as_millis()).unwrap_or(u64::MAX);
    writer.send(&ToGateway::Welcome { version: VERSION, lease_ms }).await?;
    let Some(admitted) = inner.connections.join(GatewayId(run)) else {
        warn!(name, gateway = run, "a gateway is not let in");
        return Ok(());
    };
    info!(name, gateway = run, "a gateway is connected");
    let (id, number) = (admitted.id, admitted.number);
    let session = Session { inner: inner.clone(), id, starting: Arc::default(), starts: TaskTracker::new() };
    let ended = session.converse(reader, writer, admitted).await;
    inner.connections.lose(id, number);
    info!(name, gateway = run, "a gateway is not connected any more");
    ended
}

fn greeted(hello: ToDaemon) -> Result<(String, u64), LinkError> {
    match hello {
        ToDaemon::Hello { version: VERSION, name, run } if name.len() <= LONGEST_NAME => Ok((name, run)),
        ToDaemon::Hello { version, .. } => {
            let text = format!("a gateway speaks version {version} of the link, not {VERSION}");
            Err(io::Error::new(io::ErrorKind::InvalidData, text).into())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a gateway does not say who it is").into()),
    }
}

impl Session {
    async fn converse(
        &self,
        reader: Reader,
        writer: Writer,
        Admitted { queue, cut, .. }: Admitted,
    ) -> Result<(), LinkError> {
        let introduced = async {
            self.inner.introduce(self.id).await;
            std::future::pending().await
        };
        tokio::select! {
            ended = self.listen(reader) => ended,
            ended = speak(writer, queue, self.inner.connections.lease()) => ended,
            () = introduced => Ok(()),
            () = cut.cancelled() => Ok(()),
        }
    }

    async fn listen(&self, mut reader: Reader) -> Result<(), LinkError> {
        loop {
            let message = timeout(self.inner.connections.lease(), reader.receive()).await;
            match message.map_err(|_| LinkError::Silent)?? {
                ToDaemon::Bye => {
                    for pod in self.inner.connections.part(self.id) {
                        self.inner.recount(pod);
                    }
                    return Ok(());
                }
                message => self.hear(message),
            }
        }
    }

    fn hear(&self, message: ToDaemon) {
        match message {
            ToDaemon::Ping { count } => {
                self.inner.connections.heard(self.id);
                self.inner.connections.tell(self.id, ToGateway::Pong { count });
            }
            ToDaemon::Activity { whole, pods } => self.count(whole, &pods),
            ToDaemon::Start { pod } => self.start(pod),
            ToDaemon::Unheard { pod, port } if self.inner.knows(pod) => self.inner.pods.unheard(pod, port),
            ToDaemon::Done { order, outcome } => self.inner.connections.done(self.id, order, outcome),
            // The first two are not said again, and what concerns no pod concerns nobody.
            ToDaemon::Hello { .. } | ToDaemon::Bye | ToDaemon::Unheard { .. } => {}
        }
    }

    fn count(&self, whole: bool, pods: &[PodActivity]) {
        let mut told = if whole { self.inner.connections.begin_anew(self.id) } else { Default::default() };
        let known = pods.iter().take(ACTIVITIES).filter(|activity| self.inner.knows(activity.pod));
        for PodActivity { pod, open, most } in known {
            // The most counts too: it may have come and gone.
            let all = self.inner.connections.report(self.id, *pod, *most as usize);
            self.inner.gateway.set_elsewhere(*pod, all);
            self.inner.connections.report(self.id, *pod, *open as usize);
            told.insert(*pod);
        }
        told.into_iter().for_each(|pod| self.inner.recount(pod));
    }

    /// Has the pod started, once for all who ask meanwhile.
    fn start(&self, pod: ChannelId) {
        let first = self.starting.lock().unwrap_or_else(PoisonError::into_inner).insert(pod);
        if !first {
            return;
        }
        let (inner, id, starting) = (self.inner.clone(), self.id, self.starting.clone());
        self.starts.spawn(async move {
            inner.start(id, pod).await;
            starting.lock().unwrap_or_else(PoisonError::into_inner).remove(&pod);
        });
    }
}

/// Sends what is told; one who takes longer than `patience` over a message is cut off.
async fn speak(
    mut writer: Writer,
    mut queue: mpsc::Receiver<ToGateway>,
    patience: Duration,
) -> Result<(), LinkError> {
    while let Some(message) = queue.recv().await {
        timeout(patience, writer.send(&message)).await.map_err(|_| LinkError::Silent)??;
    }
    Ok(())
}
