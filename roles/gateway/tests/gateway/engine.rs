//! An engine that does as it is told and remembers what it was asked.

use apocryph_gateway::{Backend, End, Pods, StopError, WakeError};
use apocryph_model::ChannelId;
use async_trait::async_trait;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard},
};
use tokio::sync::watch;

/// What the gateway asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Wake(ChannelId, u32),
    Woken(ChannelId),
    Retire(u64),
    Idle(ChannelId),
    Stopped(ChannelId),
    Unheard(ChannelId, u16),
}

#[derive(Default)]
struct Script {
    asked: Vec<Asked>,
    addresses: HashMap<ChannelId, Vec<IpAddr>>,
    running: HashMap<ChannelId, Vec<Backend>>,
    failures: HashMap<ChannelId, fn() -> WakeError>,
    stop_failures: usize,
    runs: u64,
}

/// Starts a pod by naming the next of its addresses, where the test has an app or not.
pub(crate) struct Engine {
    script: Mutex<Script>,
    wakes_pass: watch::Sender<bool>,
    stops_pass: watch::Sender<bool>,
    dead: watch::Sender<Vec<u64>>,
    leaving: watch::Sender<Vec<u64>>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self {
            script: Mutex::default(),
            wakes_pass: watch::Sender::new(true),
            stops_pass: watch::Sender::new(true),
            dead: watch::Sender::default(),
            leaving: watch::Sender::default(),
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Where the replicas of `pod` are.
    pub(crate) fn place(&self, pod: ChannelId, addresses: &[IpAddr]) {
        self.script().addresses.insert(pod, addresses.to_vec());
    }

    /// Whether starts end, or go on until they may.
    pub(crate) fn let_wakes(&self, pass: bool) {
        self.wakes_pass.send_replace(pass);
    }

    /// Whether stops end, or go on until they may.
    pub(crate) fn let_stops(&self, pass: bool) {
        self.stops_pass.send_replace(pass);
    }

    /// Whether starts of `pod` fail.
    pub(crate) fn fail(&self, pod: ChannelId, cause: Option<fn() -> WakeError>) {
        match cause {
            Some(cause) => self.script().failures.insert(pod, cause),
            None => self.script().failures.remove(&pod),
        };
    }

    pub(crate) fn fail_stops(&self, times: usize) {
        self.script().stop_failures = times;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script().asked.clone()
    }

    pub(crate) fn wakes(&self) -> usize {
        self.asked().iter().filter(|asked| matches!(asked, Asked::Wake(..))).count()
    }

    pub(crate) fn has_stopped(&self, pod: ChannelId) -> bool {
        self.asked().contains(&Asked::Stopped(pod))
    }

    pub(crate) fn running(&self, pod: ChannelId) -> Vec<Backend> {
        self.script().running.get(&pod).cloned().unwrap_or_default()
    }

    /// A replica ends by itself.
    pub(crate) fn kill(&self, pod: ChannelId, run: u64) {
        self.script().running.entry(pod).or_default().retain(|backend| backend.run != run);
        self.dead.send_modify(|dead| dead.push(run));
    }

    /// A replica is ended by others.
    pub(crate) fn leave(&self, pod: ChannelId, run: u64) {
        self.script().running.entry(pod).or_default().retain(|backend| backend.run != run);
        self.leaving.send_modify(|leaving| leaving.push(run));
    }

    fn start(&self, pod: ChannelId, replicas: u32) -> Result<Vec<Backend>, WakeError> {
        let mut script = self.script();
        if let Some(cause) = script.failures.get(&pod) {
            return Err(cause());
        }
        let addresses = script.addresses.get(&pod).cloned().unwrap_or_default();
        let mut running = script.running.remove(&pod).unwrap_or_default();
        for address in addresses {
            let used = running.iter().any(|backend| backend.address == address);
            if !used && running.len() < replicas as usize {
                script.runs += 1;
                running.push(Backend { run: script.runs, address });
            }
        }
        script.running.insert(pod, running.clone());
        script.asked.push(Asked::Woken(pod));
        Ok(running)
    }
}

async fn passes(gate: &watch::Sender<bool>) {
    gate.subscribe().wait_for(|pass| *pass).await.unwrap();
}

#[async_trait]
impl Pods for Engine {
    async fn wake(&self, pod: ChannelId, replicas: u32) -> Result<Vec<Backend>, WakeError> {
        self.script().asked.push(Asked::Wake(pod, replicas));
        passes(&self.wakes_pass).await;
        self.start(pod, replicas)
    }

    async fn retire(&self, pod: ChannelId, backend: Backend) -> Result<(), StopError> {
        self.kill(pod, backend.run);
        self.script().asked.push(Asked::Retire(backend.run));
        Ok(())
    }

    async fn idle(&self, pod: ChannelId) -> Result<(), StopError> {
        self.script().asked.push(Asked::Idle(pod));
        passes(&self.stops_pass).await;
        let mut script = self.script();
        if script.stop_failures > 0 {
            script.stop_failures -= 1;
            return Err(StopError::Engine("the engine is away".into()));
        }
        script.running.remove(&pod);
        script.asked.push(Asked::Stopped(pod));
        Ok(())
    }

    fn unheard(&self, pod: ChannelId, port: u16) {
        self.script().asked.push(Asked::Unheard(pod, port));
    }

    async fn died(&self, _: ChannelId, backend: Backend) -> End {
        let (mut dead, mut leaving) = (self.dead.subscribe(), self.leaving.subscribe());
        let is_it = |runs: &Vec<u64>| runs.contains(&backend.run);
        // The senders live as long as this.
        tokio::select! {
            _ = dead.wait_for(is_it) => {
                End::Died(WakeError::Exited { reason: "container web exited with code 3".into() })
            }
            _ = leaving.wait_for(is_it) => End::Leaving,
        }
    }
}
