//! The state machine under any order of events.

use super::{
    members::StillInFlight,
    state::{Admission, Growth, Phase, Review, State},
};
use crate::{Backend, WakeError, endpoint::Endpoint};
use apocryph_model::Scale;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, runtime, time::Instant};
use tokio_util::sync::CancellationToken;

const PORT: u16 = 80;

fn ports() -> BTreeSet<u16> {
    BTreeSet::from([PORT])
}

fn backend(run: u64) -> Backend {
    Backend { run, address: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

fn crash() -> WakeError {
    WakeError::Exited { reason: "container web exited with code 1".into() }
}

/// Any endpoint: what the state machine does with it does not depend on which.
async fn endpoint() -> Arc<Endpoint> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Endpoint::listening(listener.local_addr().unwrap(), CancellationToken::new()).await
}

/// A pod that serves with these replicas, all listening.
async fn serving(scale: Scale, runs: &[u64], now: Instant) -> State {
    let mut state = State::new(now);
    let running: Vec<_> = runs.iter().copied().map(backend).collect();
    state.update(scale, ports(), &running, now);
    for run in runs {
        state.listening(*run, PORT, endpoint().await);
    }
    state
}

#[tokio::test]
async fn a_pod_idles_exactly_its_period_after_the_last_request() {
    let began = Instant::now();
    let at = |seconds| began + Duration::from_secs(seconds);
    let scale = Scale { idle_seconds: 60, ..Scale::default() };
    let mut state = serving(scale, &[1], began).await;
    assert!(state.enter(9));
    assert_eq!(state.review(at(60)), Review::Until(at(120)), "it is in use");
    state.leave(None, at(100));
    assert_eq!(state.review(at(120)), Review::Until(at(160)));
    assert_eq!(state.review(at(160)), Review::Idle);
    assert_eq!(state.phase(), Phase::Draining);
}

#[tokio::test]
async fn a_request_takes_a_fenced_replica_back() {
    let began = Instant::now();
    let later = began + Duration::from_secs(61);
    let scale = Scale { max: 2, requests_per_replica: 1, ..Scale::default() };
    let mut state = serving(scale, &[1, 2], began).await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        assert!(state.enter(9));
        if let Admission::Serve(run, _) = state.admit(PORT, &mut None, began) {
            runs.push(run);
        }
    }
    state.leave(Some(runs[0]), began);
    assert_eq!(state.review(later), Review::Until(later + Duration::from_secs(60)), "both were needed");
    let Review::Shrink(fenced) = state.review(later + Duration::from_secs(60)) else { panic!("too many") };
    assert_eq!(fenced, runs[0], "the one without requests");
    assert!(state.enter(9));
    assert_eq!(state.grow(later), Growth::TakenBack);
    assert_eq!(state.take_fenced(fenced), Ok(None), "it is not stopped");
}

#[tokio::test]
async fn a_pod_that_crashes_again_and_again_is_started_ever_more_rarely() {
    let mut now = Instant::now();
    let mut state = State::new(now);
    state.update(Scale::default(), ports(), &[], now);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        assert!(matches!(state.admit(PORT, &mut None, now), Admission::Wake(1)));
        state.start_failed(crash(), now);
        let Admission::Failed { retry_after, .. } = state.admit(PORT, &mut None, now) else {
            panic!("started at once again")
        };
        pauses.push(retry_after.as_secs());
        now += retry_after;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
}

#[tokio::test]
async fn a_long_lived_pod_that_dies_is_started_at_once() {
    let began = Instant::now();
    let mut state = serving(Scale::default(), &[1], began).await;
    state.lost(1, crash(), began + Duration::from_secs(3600));
    let later = began + Duration::from_secs(3600);
    assert!(matches!(state.admit(PORT, &mut None, later), Admission::Wake(1)));
}

#[derive(Debug, Clone)]
enum Event {
    Enter,
    Admit(usize),
    Leave(usize),
    EngineAnswers,
    EngineFails,
    Listens(usize),
    Dies(usize),
    Review(u64),
    StopFenced,
    Update,
}

fn event() -> impl Strategy<Value = Event> {
    let any = 0..8usize;
    prop_oneof![
        Just(Event::Enter),
        any.clone().prop_map(Event::Admit),
        any.clone().prop_map(Event::Leave),
        Just(Event::EngineAnswers),
        Just(Event::EngineFails),
        any.clone().prop_map(Event::Listens),
        any.prop_map(Event::Dies),
        (1..100u64).prop_map(Event::Review),
        Just(Event::StopFenced),
        Just(Event::Update),
    ]
}

/// What the engine was asked and has not answered.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    Wake(u32),
    Grow(u32),
    Idle,
}

/// The world around the state machine: the engine's truth, and who is under way.
struct Model {
    state: State,
    endpoint: Arc<Endpoint>,
    now: Instant,
    running: BTreeSet<u64>,
    next_run: u64,
    asked: Option<Asked>,
    fenced: Option<u64>,
    /// Requests by number, with the run that each is on and the start that it waits for.
    requests: BTreeMap<u64, (Option<u64>, Option<u64>)>,
    next_request: u64,
}

impl Model {
    fn ask(&mut self, asked: Asked) {
        assert!(self.asked.is_none(), "the engine is asked one thing at a time");
        self.asked = Some(asked);
    }

    fn pick(&self, n: usize) -> Option<u64> {
        self.requests.keys().nth(n).copied()
    }

    fn running(&self) -> Vec<Backend> {
        self.running.iter().copied().map(backend).collect()
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Enter => self.enter(),
            Event::Admit(n) => self.admit(n),
            Event::Leave(n) => {
                let Some(request) = self.pick(n) else { return };
                let (run, _) = self.requests.remove(&request).unwrap();
                self.state.leave(run, self.now);
            }
            Event::EngineAnswers => self.answer(),
            Event::EngineFails => self.fail(),
            Event::Listens(n) => {
                let Some(run) = self.running.iter().nth(n).copied() else { return };
                self.state.listening(run, PORT, self.endpoint.clone());
            }
            Event::Dies(n) => {
                let Some(run) = self.running.iter().nth(n).copied() else { return };
                self.running.remove(&run);
                self.state.lost(run, crash(), self.now);
            }
            Event::Review(seconds) => self.review(seconds),
            Event::StopFenced => self.stop_fenced(),
            Event::Update => {
                let scale = Scale { max: 3, requests_per_replica: 1, ..Scale::default() };
                self.state.update(scale, ports(), &self.running(), self.now);
            }
        }
        assert_eq!(self.state.open(), self.requests.len());
    }

    fn enter(&mut self) {
        assert!(self.state.enter(usize::MAX));
        self.requests.insert(self.next_request, (None, None));
        self.next_request += 1;
        if let Growth::Ask(replicas) = self.state.grow(self.now) {
            self.ask(Asked::Grow(replicas));
        }
    }

    fn admit(&mut self, n: usize) {
        let Some(request) = self.pick(n) else { return };
        let (run, waits_for) = self.requests.get_mut(&request).unwrap();
        if run.is_some() {
            return;
        }
        match self.state.admit(PORT, waits_for, self.now) {
            Admission::Serve(chosen, _) => {
                assert!(self.running.contains(&chosen), "routed to what does not run");
                assert_ne!(self.asked, Some(Asked::Idle), "routed while the pod is stopped");
                *run = Some(chosen);
            }
            Admission::Wake(replicas) => self.ask(Asked::Wake(replicas)),
            Admission::Hold | Admission::Failed { .. } | Admission::Closed => {}
        }
    }

    fn answer(&mut self) {
        match self.asked.take() {
            Some(Asked::Wake(replicas)) => {
                self.start(replicas);
                self.state.woken(&self.running(), self.now);
            }
            Some(Asked::Grow(replicas)) => {
                self.start(replicas);
                self.state.grown(&self.running(), self.now);
            }
            Some(Asked::Idle) => {
                self.running.clear();
                self.state.stopped();
            }
            None => {}
        }
    }

    fn start(&mut self, replicas: u32) {
        assert!((1..=3).contains(&replicas));
        while self.running.len() < replicas as usize {
            self.running.insert(self.next_run);
            self.next_run += 1;
        }
    }

    fn fail(&mut self) {
        match self.asked {
            Some(Asked::Wake(_)) => self.state.start_failed(crash(), self.now),
            Some(Asked::Grow(_)) => self.state.growth_refused(self.now),
            Some(Asked::Idle) | None => return,
        }
        self.asked = None;
    }

    fn review(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        if self.fenced.is_some() {
            return;
        }
        match self.state.review(self.now) {
            Review::Idle => {
                assert!(self.requests.is_empty(), "stopped while something is under way");
                self.ask(Asked::Idle);
            }
            Review::Wake(replicas) => self.ask(Asked::Wake(replicas)),
            Review::Grow(replicas) => self.ask(Asked::Grow(replicas)),
            Review::Shrink(run) => self.fenced = Some(run),
            Review::Until(time) => assert!(time > self.now, "the keeper would spin"),
            Review::Wait => {}
            Review::End => panic!("nobody removed it"),
        }
    }

    fn stop_fenced(&mut self) {
        let Some(run) = self.fenced else { return };
        match self.state.take_fenced(run) {
            Err(StillInFlight) => return,
            Ok(Some(_)) => {
                let used = self.requests.values().any(|(on, _)| *on == Some(run));
                assert!(!used, "a replica is stopped while something is under way on it");
                self.running.remove(&run);
                self.state.shrunk();
            }
            Ok(None) => {}
        }
        self.fenced = None;
    }
}

proptest! {
    #[test]
    fn no_order_of_events_routes_to_what_is_stopped(events in proptest::collection::vec(event(), 0..200)) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = runtime.block_on(endpoint());
        let now = Instant::now();
        let mut model = Model {
            state: State::new(now),
            endpoint,
            now,
            running: BTreeSet::new(),
            next_run: 1,
            asked: None,
            fenced: None,
            requests: BTreeMap::new(),
            next_request: 0,
        };
        model.apply(Event::Update);
        for event in events {
            model.apply(event);
        }
    }
}
