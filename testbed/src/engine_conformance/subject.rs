//! What is tested.

use std::net::SocketAddr;
use std::path::PathBuf;

use apocryph_model::{ChannelId, Digest};
use apocryph_provider::{Engine, Replica};
use async_trait::async_trait;

use crate::layout::Image;
use crate::shipyard::Shipyard;

/// An engine under test, and a registry that it pulls from.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The engine.
    fn engine(&self) -> &dyn Engine;

    /// What the registry hands out.
    fn shipyard(&self) -> &Shipyard;

    /// Where services listen that are the host's or the engine's own, each of which answers to somebody.
    async fn host_services(&mut self) -> Vec<SocketAddr>;

    /// Where the engine keeps what the pod's containers write.
    fn log_folder(&self, pod: ChannelId) -> PathBuf;

    /// Whether the engine can tell a container's two streams apart.
    fn tells_streams_apart(&self) -> bool {
        true
    }

    /// Whether the engine refuses what no machine of its has room for.
    fn looks_for_room(&self) -> bool {
        false
    }

    /// Has who runs the machines end a replica, such as for the sake of its machine; `false` where there is
    /// nobody but the engine.
    async fn evacuate(&self, _: &Replica) -> bool {
        false
    }

    /// Ends the engine as a crash of the daemon would, and opens it again.
    async fn restart(&mut self);

    /// Encrypts an image and lets the engine pull it; gives the digest of the encrypted image's manifest.
    fn ship(&self, image: &Image) -> Digest {
        self.shipyard().ship(image).unwrap()
    }
}
