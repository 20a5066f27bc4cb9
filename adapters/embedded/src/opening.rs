//! What comes before an engine may take over what is on the host, and after it could not.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use crate::check::works;
use crate::config::{Config, InstanceName};
use crate::host_error::{Doing as _, HostError};
use crate::network::Network;
use crate::pod_store::PodStore;
use crate::run_dir::RunDir;

/// Held by the one engine of its name: names of bridges, tables and cgroups are made of it. The
/// system lets go of it at the process's end; it is seen in this network namespace only, as the
/// bridge is.
#[derive(Debug)]
pub(crate) struct Alone {
    _listener: UnixListener,
}

impl Alone {
    pub(crate) fn take(name: &InstanceName) -> Result<Self, HostError> {
        let bound = SocketAddr::from_abstract_name(name.bridge()).and_then(|a| UnixListener::bind_addr(&a));
        let listener = bound.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => io::Error::new(error.kind(), "another engine on this host has it"),
            _ => error,
        });
        Ok(Self { _listener: listener.doing(format!("use {:?} as engine.name", name.as_str()))? })
    }
}

/// Refuses a runtime that would fail every start.
pub(crate) fn check_runtime(runtime: &Path) -> Result<(), HostError> {
    let found = if works(runtime) { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotFound)) };
    found.doing(format!("run the OCI runtime {}", runtime.display()))
}

/// Takes away what a failed opening made of the host, unless pods may still be there, or readings
/// that nobody has seen. Whatever stays is taken over by the next opening.
pub(crate) fn abandon(config: &Config) {
    let pods = PodStore::open(&config.data_dir).and_then(|store| store.all());
    let run_dir = RunDir::at(&config.run_dir);
    let idle =
        pods.is_ok_and(|pods| pods.is_empty()) && is_empty(&run_dir.replicas()) && is_empty(&run_dir.ended());
    if idle {
        for undone in [Network::close(config), run_dir.close()] {
            if let Err(error) = undone {
                tracing::debug!(%error, "not made, or not undone");
            }
        }
    }
}

/// A folder that is not there is empty.
fn is_empty(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
