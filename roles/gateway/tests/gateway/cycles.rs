//! Many starts and stops of an app that is really gone in between.

use crate::{
    app::App,
    world::{HOST, POD, restless},
};
use apocryph_gateway::{Backend, Config, End, Gateway, Pods, StopError, WakeError};
use apocryph_model::ChannelId;
use apocryph_testbed::http_client::{ask, get};
use async_trait::async_trait;
use futures::future::join_all;
use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::Mutex, time::sleep};

/// Has the app listen from a start to the next stop only.
struct OneApp {
    address: SocketAddr,
    app: Mutex<Option<App>>,
    starts: AtomicU64,
}

#[async_trait]
impl Pods for OneApp {
    async fn wake(&self, _: ChannelId, _: u32) -> Result<Vec<Backend>, WakeError> {
        let mut app = self.app.lock().await;
        if app.is_none() {
            *app = Some(App::start(self.address).await);
            self.starts.fetch_add(1, Ordering::SeqCst);
        }
        Ok(vec![Backend { run: self.starts.load(Ordering::SeqCst), address: self.address.ip() }])
    }

    async fn retire(&self, _: ChannelId, _: Backend) -> Result<(), StopError> {
        Ok(())
    }

    async fn idle(&self, _: ChannelId) -> Result<(), StopError> {
        if let Some(app) = self.app.lock().await.take() {
            app.stop().await;
        }
        Ok(())
    }

    fn unheard(&self, _: ChannelId, _: u16) {}

    async fn died(&self, _: ChannelId, _: Backend) -> End {
        pending().await
    }
}

/// Clients that come just when the idle period ends, again and again.
#[tokio::test]
async fn no_request_is_lost_over_starts_and_stops() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::world::free_port().await));
    let pods = Arc::new(OneApp { address, app: Mutex::default(), starts: AtomicU64::new(0) });
    let gateway = Gateway::new(Config::default(), pods.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let http = listener.local_addr().unwrap();
    gateway.listen(listener, None);
    gateway.put(restless(POD, HOST, address.port()), &[]).await.unwrap();
    for _ in 0..5 {
        let clients = (0..40).map(|n| async move {
            sleep(Duration::from_micros(1_000_000 + (n % 20) * 200 - 2_000)).await;
            ask(http, get(HOST, "/")).await
        });
        for answer in join_all(clients).await {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    assert!(pods.starts.load(Ordering::SeqCst) > 0);
}
