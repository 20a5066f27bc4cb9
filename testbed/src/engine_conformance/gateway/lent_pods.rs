//! The engine under test, as gateways scale pods by it.

use std::collections::HashSet;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};

use apocryph_gateway::{Backend, End, Pods, StopError, WakeError};
use apocryph_model::ChannelId;
use apocryph_provider::{Engine, EngineError, Replica, ReplicaEnd};
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

/// Something to do with the engine.
type Call = Box<dyn for<'a> FnOnce(&'a dyn Engine) -> BoxFuture<'a, ()> + Send>;

/// Remembers what was asked for, and does it while the engine is [lent](Loan::over).
pub(super) struct LentPods {
    calls: mpsc::UnboundedSender<Call>,
    asked: Mutex<Vec<&'static str>>,
    /// Held by whoever starts or stops replicas, as the provider has it.
    pub(super) scaling: tokio::sync::Mutex<()>,
    /// The runs whose end nobody will be told of at first, where that is so.
    missing: Mutex<Option<HashSet<u64>>>,
}

/// What is to be done with the engine.
pub(super) struct Loan(mpsc::UnboundedReceiver<Call>);

/// The pods of an engine that is yet to be lent.
pub(super) fn lend() -> (Arc<LentPods>, Loan) {
    let (calls, called) = mpsc::unbounded_channel();
    let (asked, scaling, missing) = Default::default();
    (Arc::new(LentPods { calls, asked, scaling, missing }), Loan(called))
}

impl Loan {
    /// Has the engine do what it is asked for, for as long as `work` takes. What is under way then is broken
    /// off, as if the daemon was killed.
    pub(super) async fn over<T>(mut self, engine: &dyn Engine, work: impl Future<Output = T>) -> T {
        let mut under_way = FuturesUnordered::new();
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(call) = self.0.recv() => under_way.push(call(engine)),
                Some(()) = under_way.next() => {}
            }
        }
    }
}

/// A replica as the gateway knows it.
pub(super) fn backend_of(replica: &Replica) -> Backend {
    Backend::of_replica(&replica.id, replica.address)
}

/// Those that run.
pub(super) async fn running(engine: &dyn Engine, pod: ChannelId) -> Result<Vec<Replica>, EngineError> {
    let mut replicas = engine.replicas(pod).await?;
    replicas.retain(|replica| replica.end.is_none());
    Ok(replicas)
}

impl LentPods {
    /// How often this was asked for.
    pub(super) fn times(&self, what: &str) -> usize {
        self.asked().iter().filter(|asked| **asked == what).count()
    }

    /// From now on the first word of every replica's end is lost.
    pub(super) fn miss_ends(&self) {
        *self.missing.lock().unwrap() = Some(HashSet::new());
    }

    fn is_missed(&self, run: u64) -> bool {
        self.missing.lock().unwrap().as_mut().is_some_and(|missed| missed.insert(run))
    }

    fn asked(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.asked.lock().unwrap()
    }

    /// What the engine says, once it is there.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl for<'a> FnOnce(&'a dyn Engine) -> BoxFuture<'a, T> + Send + 'static,
    ) -> T {
        let (tell, told) = oneshot::channel();
        let call: Call = Box::new(move |engine| {
            let asked = ask(engine);
            Box::pin(async move {
                // Who asked may have left.
                let _ = tell.send(asked.await);
            })
        });
        // Where nobody does what is asked for, nobody tells.
        let _ = self.calls.send(call);
        match told.await {
            Ok(said) => said,
            Err(_) => pending().await,
        }
    }
}

#[async_trait]
impl Pods for LentPods {
    async fn wake(&self, pod: ChannelId, replicas: u32) -> Result<Vec<Backend>, WakeError> {
        self.asked().push("wake");
        let _scaling = self.scaling.lock().await;
        let woken = self.ask(move |engine| Box::pin(at_least(engine, pod, replicas))).await;
        match woken {
            Ok(woken) => Ok(woken.iter().map(backend_of).collect()),
            Err(EngineError::Pod(fault) | EngineError::Host(fault)) => Err(fault.into()),
            Err(EngineError::Unknown) => Err(WakeError::Removed),
        }
    }

    async fn retire(&self, pod: ChannelId, backend: Backend) -> Result<(), StopError> {
        self.asked().push("retire");
        let _scaling = self.scaling.lock().await;
        let retired = self.ask(move |engine| Box::pin(stop(engine, pod, backend))).await;
        retired.map_err(|error| StopError::Engine(error.into()))
    }

    async fn idle(&self, pod: ChannelId) -> Result<(), StopError> {
        self.asked().push("idle");
        let _scaling = self.scaling.lock().await;
        let stopped = self.ask(move |engine| engine.scale(pod, 0)).await;
        self.asked().push("stopped");
        stopped.map(drop).map_err(|error| StopError::Engine(error.into()))
    }

    fn unheard(&self, _: ChannelId, _: u16) {
        self.asked().push("unheard");
    }

    async fn died(&self, pod: ChannelId, backend: Backend) -> End {
        if self.is_missed(backend.run) {
            return pending().await;
        }
        match self.ask(move |engine| Box::pin(end(engine, pod, backend))).await {
            Ok(ended) => ended,
            Err(_unknown) => pending().await,
        }
    }
}

async fn at_least(engine: &dyn Engine, pod: ChannelId, replicas: u32) -> Result<Vec<Replica>, EngineError> {
    let there = u32::try_from(running(engine, pod).await?.len()).unwrap();
    engine.scale(pod, replicas.max(there)).await
}

async fn replica(
    engine: &dyn Engine,
    pod: ChannelId,
    backend: Backend,
) -> Result<Option<Replica>, EngineError> {
    Ok(engine.replicas(pod).await?.into_iter().find(|replica| backend_of(replica) == backend))
}

async fn stop(engine: &dyn Engine, pod: ChannelId, backend: Backend) -> Result<(), EngineError> {
    match replica(engine, pod, backend).await? {
        Some(replica) => engine.stop(pod, &replica.id).await,
        None => Ok(()),
    }
}

async fn end(engine: &dyn Engine, pod: ChannelId, backend: Backend) -> Result<End, EngineError> {
    let end = match replica(engine, pod, backend).await? {
        Some(replica) => engine.ended(pod, &replica.id).await?,
        None => None,
    };
    Ok(match end {
        Some(ReplicaEnd::Failed(fault)) => End::Died(fault.into()),
        Some(ReplicaEnd::Leaving) => End::Leaving,
        None => End::Died(WakeError::Removed),
    })
}
