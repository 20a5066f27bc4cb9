//! `node-reader`: the processor time of a node's pods, for the daemon.

use crate::{
    args::{NodeReader, Overrides},
    daemon::{self, signals},
    failure::Failure,
    keys,
    settings::file::Log,
};
use apocryph_link::Role;
use apocryph_link::nodes::{PodCounters, PodReading, PodUid, ReaderConfig, answer};
use apocryph_pod_cgroups::PodCgroups;
use std::sync::Arc;
use tracing::info;

/// Runs until told to stop.
pub(super) fn run(how: NodeReader, overrides: Overrides) -> Result<(), Failure> {
    let log = Log::default();
    daemon::log_to_stderr(&Log { format: overrides.log_format.unwrap_or(log.format), ..log });
    let NodeReader { daemon, token_file, node, cgroups } = how;
    let token = keys::link_token(&token_file, Role::NodeReader)?;
    let cgroups = Arc::new(PodCgroups::open(&cgroups)?);
    cgroups.keep_reading()?;
    let config = ReaderConfig { daemon, token, node };
    // It does next to nothing: one thread does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::Runtime)?.block_on(async {
        let stopping = signals::stop_signal().map_err(Failure::Runtime)?;
        info!(version = env!("CARGO_PKG_VERSION"), node = %config.node, "reading");
        tokio::select! {
            () = answer(&config, Arc::new(Cgroups(cgroups))) => {}
            () = stopping => {}
        }
        Ok(())
    })
}

/// The node's cgroups, as the link asks for them.
struct Cgroups(Arc<PodCgroups>);

impl PodCounters for Cgroups {
    fn read(&self, pod: &PodUid) -> Option<PodReading> {
        let used = self.0.read(pod.as_ref())?;
        Some(PodReading { uid: pod.clone(), cpu_us: used.cpu_us, there: used.there, whole: used.whole })
    }
}
