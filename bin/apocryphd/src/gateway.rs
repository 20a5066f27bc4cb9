//! A gateway as a process of its own: it has neither keys nor funds nor an engine, and asks the
//! daemon to start pods.
//!
//! ```text
//!   token -> every listener -> the link -> the daemon told every pod -> requests are taken
//!                                                                         |
//!   SIGTERM: no more connections -> what is under way ends -> the daemon is told -> end
//! ```

mod settings;

pub(crate) use settings::{GatewaySettings, TEMPLATE, default_config};

use crate::{
    daemon::{
        doors::{Doors, listen},
        health::{self, Readiness},
        signals,
    },
    failure::Failure,
    keys,
};
use apocryph_gateway::{Config, Gateway};
use apocryph_gateway_link::{Link, State};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::info;

/// Runs until told to stop.
pub(crate) async fn run(settings: &GatewaySettings) -> Result<(), Failure> {
    let stopping = signals::stop_signal().map_err(Failure::Runtime)?;
    let meters = health::install_meters();
    let config = settings.link(keys::link_token(&settings.file.token_file)?);
    let listening = &settings.file.listen;
    let doors = Doors::open(listening.gateway.0, settings.tls.as_ref()).await?;
    let health = listen(listening.health.0, "listen.health").await?;
    let link = Link::default();
    let bounds = Config { tcp_address: listening.gateway.0.ip(), ..Config::default() };
    let gateway = Gateway::new(bounds, Arc::new(link.clone()));
    let ready = watch::Sender::new(Readiness::Waits("the daemon has not told of every pod yet".into()));
    let background =
        async { tokio::join!(link.run(&config, &gateway), health::serve(health, meters, ready.subscribe())) };
    let serving = async {
        serve(&link, doors, &gateway, &ready, stopping).await;
        let drained = gateway.drain(settings.file.drain.0).await;
        info!(cut = drained.cut, "the gateway is drained");
        link.leave().await;
    };
    tokio::select! {
        () = serving => {}
        _ = background => {}
    }
    Ok(())
}

/// Takes requests once every pod is known, until `stopping`; whoever comes before waits at the door.
async fn serve(
    link: &Link,
    doors: Doors,
    gateway: &Gateway,
    ready: &watch::Sender<Readiness>,
    stopping: impl Future<Output = ()>,
) {
    tokio::pin!(stopping);
    let mut state = link.state();
    tokio::select! {
        known = state.wait_for(|state| *state == State::Synced) => drop(known),
        () = &mut stopping => return,
    }
    doors.serve(gateway);
    ready.send_replace(Readiness::Ready);
    info!(version = env!("CARGO_PKG_VERSION"), "serving");
    stopping.await;
    ready.send_replace(Readiness::Waits("it is stopping".into()));
    info!("stopping");
}
