//! The gateways that a daemon is connected to or was, and what they are told to do.

use super::message::{Outcome, ToGateway};
use apocryph_gateway::{Fleet, GatewayId, Standing};
use apocryph_model::ChannelId;
use futures::future::join_all;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The most gateways, those that were lost included.
const MOST: usize = 64;
/// How long a gateway may take to answer an order, beside what the order itself takes.
const ANSWER: Duration = Duration::from_secs(5);

/// The gateways of a daemon.
pub(crate) struct Connections {
    state: Mutex<State>,
    /// Told whenever somebody joins, is lost or has more under way.
    changed: watch::Sender<()>,
    orders: AtomicU64,
}

struct State {
    fleet: Fleet,
    live: HashMap<GatewayId, Live>,
    /// Those that did not do as they were told.
    expelled: HashSet<GatewayId>,
}

/// One connection.
struct Live {
    number: u64,
    queue: mpsc::Sender<ToGateway>,
    waiting: HashMap<u64, oneshot::Sender<Outcome>>,
    cut: CancellationToken,
}

/// A connection that was let in.
pub(crate) struct Admitted {
    pub(crate) id: GatewayId,
    pub(crate) number: u64,
    pub(crate) queue: mpsc::Receiver<ToGateway>,
    /// Cancelled when it is to end.
    pub(crate) cut: CancellationToken,
}

impl Connections {
    /// Messages that wait for one gateway to read them.
    const QUEUE: usize = 1 << 15;

    pub(crate) fn new(lease: Duration) -> Self {
        let fleet = Fleet::new(lease, Instant::now());
        let state = State { fleet, live: HashMap::new(), expelled: HashSet::new() };
        Self { state: Mutex::new(state), changed: watch::Sender::new(()), orders: AtomicU64::new(0) }
    }

    pub(crate) fn lease(&self) -> Duration {
        self.state().fleet.lease()
    }

    /// Lets a gateway in, in place of an earlier connection of the same run; `None` where there are
    /// too many, or it did not do as it was told.
    pub(crate) fn join(&self, id: GatewayId) -> Option<Admitted> {
        let (sender, queue) = mpsc::channel(Self::QUEUE);
        let (number, cut) = (self.number(), CancellationToken::new());
        let mut state = self.state();
        let known = state.fleet.members();
        if state.expelled.contains(&id) || (known.len() >= MOST && !known.contains(&id)) {
            return None;
        }
        state.fleet.join(id, Instant::now());
        let live = Live { number, queue: sender, waiting: HashMap::new(), cut: cut.clone() };
        if let Some(earlier) = state.live.insert(id, live) {
            earlier.cut.cancel();
        }
        self.count(&state);
        drop(state);
        self.changed.send_replace(());
        Some(Admitted { id, number, queue, cut })
    }

    /// A connection has ended.
    pub(crate) fn lose(&self, id: GatewayId, number: u64) {
        let mut state = self.state();
        if state.live.get(&id).is_some_and(|live| live.number == number) {
            state.live.remove(&id);
            state.fleet.lose(id);
            self.count(&state);
        }
        drop(state);
        self.changed.send_replace(());
    }

    fn count(&self, state: &State) {
        metrics::gauge!("apocryph_gateways").set(state.live.len() as f64);
    }

    /// A gateway said goodbye; gives the pods of which it told.
    pub(crate) fn part(&self, id: GatewayId) -> BTreeSet<ChannelId> {
        self.state().fleet.part(id)
    }

    pub(crate) fn heard(&self, id: GatewayId) {
        self.state().fleet.heard(id, Instant::now());
    }

    /// What is under way to a pod at one gateway; gives what is at all of them.
    pub(crate) fn report(&self, id: GatewayId, pod: ChannelId, open: usize) -> usize {
        let mut state = self.state();
        state.fleet.report(id, pod, open);
        let all = state.fleet.open(pod);
        drop(state);
        if open > 0 {
            self.changed.send_replace(());
        }
        all
    }

    pub(crate) fn begin_anew(&self, id: GatewayId) -> BTreeSet<ChannelId> {
        self.state().fleet.begin_anew(id)
    }

    pub(crate) fn open(&self, pod: ChannelId) -> usize {
        self.state().fleet.open(pod)
    }

    /// Returns once something is under way to the pod at some gateway.
    pub(crate) async fn wanted(&self, pod: ChannelId) {
        let mut changed = self.changed.subscribe();
        while self.open(pod) == 0 {
            // The sender is this one's own: it cannot be gone.
            let _ = changed.changed().await;
        }
    }

    /// Returns when a lease has run out, with the pods of which the gateway told.
    pub(crate) async fn expired(&self) -> BTreeSet<ChannelId> {
        let mut changed = self.changed.subscribe();
        loop {
            let (pods, next) = {
                let mut state = self.state();
                (state.fleet.expire(Instant::now()), state.fleet.next_expiry())
            };
            if !pods.is_empty() {
                return pods;
            }
            // Either way there is a new look.
            let _ = match next {
                Some(time) => timeout_at(time, changed.changed()).await.is_ok(),
                None => changed.changed().await.is_ok(),
            };
        }
    }

    /// Tells one gateway.
    pub(crate) fn tell(&self, id: GatewayId, message: ToGateway) {
        if let Some(live) = self.state().live.get(&id) {
            live.tell(message);
        }
    }

    /// Tells every gateway that is connected.
    pub(crate) fn tell_all(&self, message: &ToGateway) {
        self.state().live.values().for_each(|live| live.tell(message.clone()));
    }

    /// What an order has come to.
    pub(crate) fn done(&self, id: GatewayId, order: u64, outcome: Outcome) {
        let waiting = self.state().live.get_mut(&id).and_then(|live| live.waiting.remove(&order));
        if let Some(waiting) = waiting {
            // Whoever waited may have left.
            let _ = waiting.send(outcome);
        }
    }

    /// Orders something of those that are connected, in the order of the calls.
    pub(crate) fn order_connected(&self, order: impl Fn(u64) -> ToGateway) -> Answers {
        let mut state = self.state();
        Answers(state.live.values_mut().map(|live| live.order(self.number(), &order)).collect())
    }

    /// Orders something of every gateway, which may take it `time`, and returns when each has done
    /// it or cannot route any more.
    pub(crate) async fn order_everyone(
        &self,
        order: impl Fn(u64) -> ToGateway + Sync,
        time: Duration,
    ) -> Vec<Outcome> {
        let (known, unknown_until) = {
            let state = self.state();
            (state.fleet.members(), state.fleet.unknown_until())
        };
        let all = known.into_iter().map(|id| self.insist(id, &order, time));
        let (outcomes, ()) = tokio::join!(join_all(all), sleep_until(unknown_until));
        outcomes.into_iter().flatten().collect()
    }

    /// Orders it until it is done; `None` where the gateway cannot route any more.
    async fn insist(
        &self,
        id: GatewayId,
        order: &impl Fn(u64) -> ToGateway,
        time: Duration,
    ) -> Option<Outcome> {
        let mut changed = self.changed.subscribe();
        loop {
            let standing = self.state().fleet.standing(id, Instant::now());
            match standing {
                Standing::Gone => return None,
                // Either way there is a new look.
                Standing::Lost(until) => drop(timeout_at(until, changed.changed()).await),
                Standing::Connected => match self.ask(id, order, time).await {
                    Some(outcome) => return Some(outcome),
                    None => drop(timeout(ANSWER, changed.changed()).await),
                },
            }
        }
    }

    /// Orders it once; one that does not answer in time is not spoken to any more.
    async fn ask(&self, id: GatewayId, order: &impl Fn(u64) -> ToGateway, time: Duration) -> Option<Outcome> {
        let answer = self.state().live.get_mut(&id)?.order(self.number(), order);
        match timeout(time + ANSWER, answer).await {
            Ok(answer) => answer.ok(),
            Err(_) => {
                warn!(gateway = id.0, "a gateway did not do as it was told");
                let mut state = self.state();
                state.expelled.insert(id);
                state.live.get(&id)?.cut.cancel();
                None
            }
        }
    }

    /// Tells an order, or a connection, from all others.
    pub(crate) fn number(&self) -> u64 {
        self.orders.fetch_add(1, Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is awaited of those that were connected.
pub(crate) struct Answers(Vec<oneshot::Receiver<Outcome>>);

impl Answers {
    /// The outcomes. One that breaks off, or takes too long, has none.
    pub(crate) async fn outcomes(self) -> Vec<Outcome> {
        let all = join_all(self.0.into_iter().map(|answer| timeout(ANSWER, answer)));
        all.await.into_iter().filter_map(|answer| answer.ok()?.ok()).collect()
    }
}

impl Live {
    /// One that does not read is cut off.
    fn tell(&self, message: ToGateway) {
        if self.queue.try_send(message).is_err() {
            self.cut.cancel();
        }
    }

    fn order(&mut self, number: u64, order: impl Fn(u64) -> ToGateway) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.retain(|_, waiting| !waiting.is_closed());
        self.waiting.insert(number, sender);
        self.tell(order(number));
        receiver
    }
}
