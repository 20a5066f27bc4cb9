//! Property 7: several gateways, of which one is lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use apocryph_gateway::{Config, Gateway};
use apocryph_link::{Hub, Link, LinkConfig, Role, State, Token};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::super::Subject;
use super::super::driving::{PATIENCE, finish};
use super::app::{AT_ONCE, HOST, prepare, restless, routes};
use super::lent_pods::{lend, running};
use super::ticks::Ticks;
use crate::http_client::{ask, get};
use crate::until::until;

const LEASE: Duration = Duration::from_secs(1);

fn token() -> Token {
    Token::from_text(&"t".repeat(40), Role::Gateway).unwrap()
}

/// A gateway that is linked to the one that decides, in threads of its own.
struct Linked {
    http: SocketAddr,
    threads: Option<Runtime>,
}

impl Linked {
    /// One that knows every pod.
    async fn start(daemon: SocketAddr) -> Self {
        let threads = Runtime::new().unwrap();
        let (listener, link) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(), Link::default());
        let (http, listener) = (listener.local_addr().unwrap(), listener.into_std().unwrap());
        let mut state = link.state();
        threads.spawn(async move {
            let gateway = Gateway::new(Config::default(), Arc::new(link.clone()));
            gateway.listen(TcpListener::from_std(listener).unwrap(), None);
            let name = "linked".into();
            let drain = Duration::from_secs(1);
            let config = LinkConfig { daemon: daemon.to_string(), token: token(), name, drain };
            link.run(&config, &gateway).await;
        });
        let synced = state.wait_for(|state| *state == State::Synced);
        timeout(PATIENCE, synced).await.expect("it knows every pod").unwrap();
        Self { http, threads: Some(threads) }
    }

    /// Ends all of it, without a goodbye.
    fn kill(&mut self) {
        self.threads.take().unwrap().shutdown_background();
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Two gateways have one start, and the loss of one, with what is in its hands, stops nothing that the other
/// one uses.
pub async fn a_lost_gateway_makes_no_pod_look_idle(subject: &mut dyn Subject) {
    let pod = prepare(subject, AT_ONCE).await;
    let engine = subject.engine();
    let (pods, loan) = lend();
    let work = async {
        let config = Config { serves: false, ..Config::default() };
        let (gateway, hub) = Hub::new(config, pods.clone(), token(), LEASE);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let daemon = listener.local_addr().unwrap();
        let serving = hub.clone();
        let serving = tokio::spawn(async move { serving.serve(listener).await });
        let routes = routes(&pod, HOST, restless());
        gateway.put(routes.clone(), &[]).await.unwrap();
        hub.put(&routes).await.unwrap();
        hub.ready();
        let (mut lost, kept) = (Linked::start(daemon).await, Linked::start(daemon).await);

        let (at_lost, at_kept) =
            tokio::join!(Ticks::begin(lost.http, HOST, "/ticks"), Ticks::begin(kept.http, HOST, "/ticks"));
        assert_eq!((&at_lost.run, pods.times("wake")), (&at_kept.run, 1), "one start for both");
        let there = running(engine, pod.id).await.unwrap();
        lost.kill();
        assert!(!at_lost.end().await, "what was in its hands is lost");
        let mut at_kept = at_kept;
        // Longer than the lease and the idle period together.
        at_kept.wait(30).await;
        assert_eq!(ask(kept.http, get(HOST, "/")).await.body, at_kept.run);
        assert_eq!((pods.times("idle"), running(engine, pod.id).await.unwrap()), (0, there));
        drop(at_kept);
        until("it goes to zero", PATIENCE, async || Ok(pods.times("stopped") == 1)).await.unwrap();
        assert_eq!(ask(kept.http, get(HOST, "/")).await.status, 200, "and comes back");
        serving.abort();
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}
