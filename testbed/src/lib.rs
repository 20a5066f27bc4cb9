//! What tests, benchmarks and the demo stand on.

pub mod audit;
pub mod authorised;
pub mod chain;
pub mod cli;
pub mod clients;
pub mod cluster;
pub mod containers;
pub mod daemon;
pub mod dns;
pub mod engine_conformance;
pub mod figure;
pub mod gateway;
pub mod http_client;
pub mod images;
pub mod kubo;
pub mod layout;
pub mod marker;
pub mod market;
pub mod processor;
pub mod rpc_proxy;
pub mod service;
pub mod shipyard;
pub mod sweep;
pub mod traces;
pub mod until;

use std::path::{Path, PathBuf};

/// A program of this workspace, built beside the one that runs.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    // Tests stand one folder deeper than programs.
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| Path::new(name).into())
}
