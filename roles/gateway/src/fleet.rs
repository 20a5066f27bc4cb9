//! The gateways beside the one that decides, and what is under way at each. No clock and no
//! connections: time is passed in.
//!
//! ```text
//!              joins                     its connection breaks
//!   (unknown) ───────▶ Connected ─────────────────────────────▶ Lost until its lease runs out
//!                       │    ▲              joins again               │          │
//!                       │    └────────────────────────────────────────┘          │
//!                       └──▶ (unknown) says goodbye            (unknown) ◀───────┘
//! ```
//!
//! A gateway's lease is renewed by every word of it that is answered. Without one it routes nothing
//! new to a replica, so that one that was lost need not be asked any more once its lease has run
//! out; until then what it told last counts. Who just began to decide does not know whom its
//! predecessor had promised what, and takes a lease for granted too.

use apocryph_model::ChannelId;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::Instant;

/// Names one run of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub u64);

/// Whether a gateway can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can.
    Connected,
    /// It cannot, and may route by what it knows until this time.
    Lost(Instant),
    /// It routes nothing.
    Gone,
}

/// The gateways beside the one that decides.
#[derive(Debug)]
pub struct Fleet {
    lease: Duration,
    began: Instant,
    members: HashMap<GatewayId, Member>,
}

#[derive(Debug)]
struct Member {
    connected: bool,
    heard: Instant,
    open: HashMap<ChannelId, usize>,
}

impl Fleet {
    /// No gateway is known yet at `now`, and every lease lasts so long.
    pub fn new(lease: Duration, now: Instant) -> Self {
        Self { lease, began: now, members: HashMap::new() }
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// A gateway has connected. What it told before counts until it tells anew.
    pub fn join(&mut self, id: GatewayId, now: Instant) {
        let member = self.members.entry(id).or_insert_with(|| Member {
            connected: true,
            heard: now,
            open: HashMap::new(),
        });
        (member.connected, member.heard) = (true, now);
    }

    /// A gateway was heard of, and is answered.
    pub fn heard(&mut self, id: GatewayId, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.heard = now;
        }
    }

    /// A gateway tells what is under way at it to a pod.
    pub fn report(&mut self, id: GatewayId, pod: ChannelId, open: usize) {
        let Some(member) = self.members.get_mut(&id) else { return };
        match open {
            0 => drop(member.open.remove(&pod)),
            _ => drop(member.open.insert(pod, open)),
        }
    }

    /// A gateway is about to tell everything anew; gives the pods that it told of before.
    pub fn begin_anew(&mut self, id: GatewayId) -> BTreeSet<ChannelId> {
        let member = self.members.get_mut(&id);
        member.map(|member| member.open.drain().map(|(pod, _)| pod).collect()).unwrap_or_default()
    }

    /// The connection to a gateway broke.
    pub fn lose(&mut self, id: GatewayId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.connected = false;
        }
    }

    /// A gateway said goodbye: nothing is under way there. Gives the pods of which it told before.
    pub fn part(&mut self, id: GatewayId) -> BTreeSet<ChannelId> {
        self.members.remove(&id).map(Member::pods).unwrap_or_default()
    }

    /// Forgets those whose lease has run out; gives the pods of which they told.
    pub fn expire(&mut self, now: Instant) -> BTreeSet<ChannelId> {
        let lease = self.lease;
        let over = |member: &Member| !member.connected && member.heard + lease <= now;
        let expired: Vec<_> =
            self.members.iter().filter(|(_, member)| over(member)).map(|(id, _)| *id).collect();
        expired.into_iter().flat_map(|id| self.part(id)).collect()
    }

    /// When the next lease of a lost gateway runs out.
    pub fn next_expiry(&self) -> Option<Instant> {
        let lost = self.members.values().filter(|member| !member.connected);
        lost.map(|member| member.heard + self.lease).min()
    }

    /// How much is under way to a pod at all of them, as far as is known.
    pub fn open(&self, pod: ChannelId) -> usize {
        self.members.values().filter_map(|member| member.open.get(&pod)).sum()
    }

    /// Whether a gateway can be asked at `now`.
    pub fn standing(&self, id: GatewayId, now: Instant) -> Standing {
        match self.members.get(&id) {
            Some(member) if member.connected => Standing::Connected,
            Some(member) if member.heard + self.lease > now => Standing::Lost(member.heard + self.lease),
            _ => Standing::Gone,
        }
    }

    /// All that are known.
    pub fn members(&self) -> Vec<GatewayId> {
        self.members.keys().copied().collect()
    }

    /// Until when gateways that never were heard of may route by what a predecessor told them.
    pub fn unknown_until(&self) -> Instant {
        self.began + self.lease
    }
}

impl Member {
    fn pods(self) -> BTreeSet<ChannelId> {
        self.open.into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POD: ChannelId = ChannelId([1; 32]);
    const OTHER: ChannelId = ChannelId([2; 32]);
    const LEASE: Duration = Duration::from_secs(10);
    const A: GatewayId = GatewayId(1);
    const B: GatewayId = GatewayId(2);

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn what_gateways_have_under_way_adds_up() {
        let began = Instant::now();
        let mut fleet = Fleet::new(LEASE, began);
        fleet.join(A, began);
        fleet.join(B, began);
        fleet.report(A, POD, 2);
        fleet.report(B, POD, 3);
        fleet.report(B, OTHER, 1);
        assert_eq!((fleet.open(POD), fleet.open(OTHER)), (5, 1));
        assert_eq!(fleet.part(A), [POD].into());
        fleet.report(A, POD, 7);
        assert_eq!(fleet.open(POD), 3, "who has left tells nothing");
        assert_eq!(fleet.begin_anew(B), [POD, OTHER].into());
        assert_eq!((fleet.open(POD), fleet.open(OTHER)), (0, 0));
    }

    #[test]
    fn what_a_lost_gateway_told_counts_until_its_lease_is_over() {
        let began = Instant::now();
        let mut fleet = Fleet::new(LEASE, began);
        fleet.join(A, began);
        fleet.report(A, POD, 1);
        fleet.heard(A, after(began, 5));
        fleet.lose(A);
        assert_eq!(fleet.next_expiry(), Some(after(began, 15)));
        assert_eq!(fleet.standing(A, after(began, 14)), Standing::Lost(after(began, 15)));
        assert!(fleet.expire(after(began, 14)).is_empty());
        assert_eq!(fleet.open(POD), 1);
        assert_eq!(fleet.standing(A, after(began, 15)), Standing::Gone);
        assert_eq!(fleet.expire(after(began, 15)), [POD].into());
        assert_eq!(fleet.open(POD), 0);
    }

    #[test]
    fn a_gateway_that_comes_back_in_time_was_never_away() {
        let began = Instant::now();
        let mut fleet = Fleet::new(LEASE, began);
        fleet.join(A, began);
        fleet.report(A, POD, 1);
        fleet.lose(A);
        fleet.join(A, after(began, 9));
        assert!(fleet.expire(after(began, 100)).is_empty());
        assert_eq!((fleet.open(POD), fleet.next_expiry()), (1, None));
        assert_eq!(fleet.standing(A, after(began, 100)), Standing::Connected);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Join(u64),
        Heard(u64),
        Report(u64, usize),
        Lose(u64),
        Part(u64),
        Wait(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        let gateway = || 0..3u64;
        prop_oneof![
            gateway().prop_map(Event::Join),
            gateway().prop_map(Event::Heard),
            (gateway(), 0..3usize).prop_map(|(gateway, open)| Event::Report(gateway, open)),
            gateway().prop_map(Event::Lose),
            gateway().prop_map(Event::Part),
            (0..8u64).prop_map(Event::Wait),
        ]
    }

    /// What is promised of one gateway, said in another way.
    #[derive(Default, Clone, Copy)]
    struct Promise {
        there: bool,
        connected: bool,
        heard: u64,
        open: usize,
    }

    proptest! {
        #[test]
        fn a_pod_looks_idle_only_where_no_gateway_may_use_it(
            events in proptest::collection::vec(event(), 0..60)
        ) {
            let began = Instant::now();
            let mut fleet = Fleet::new(LEASE, began);
            let mut promises = [Promise::default(); 3];
            let mut seconds = 0;
            for event in events {
                let now = after(began, seconds);
                match event {
                    Event::Join(id) => {
                        fleet.join(GatewayId(id), now);
                        let open = promises[id as usize].open;
                        promises[id as usize] = Promise { there: true, connected: true, heard: seconds, open };
                    }
                    Event::Heard(id) => {
                        fleet.heard(GatewayId(id), now);
                        promises[id as usize].heard = seconds;
                    }
                    Event::Report(id, open) => {
                        fleet.report(GatewayId(id), POD, open);
                        if promises[id as usize].there {
                            promises[id as usize].open = open;
                        }
                    }
                    Event::Lose(id) => {
                        fleet.lose(GatewayId(id));
                        promises[id as usize].connected = false;
                    }
                    Event::Part(id) => {
                        fleet.part(GatewayId(id));
                        promises[id as usize] = Promise::default();
                    }
                    Event::Wait(more) => seconds += more,
                }
                fleet.expire(after(began, seconds));
                for promise in &mut promises {
                    if !promise.connected && promise.heard + LEASE.as_secs() <= seconds {
                        *promise = Promise::default();
                    }
                }
                let expected: usize = promises.iter().map(|promise| promise.open).sum();
                prop_assert_eq!(fleet.open(POD), expected);
            }
        }
    }
}
