//! The node's key: an Ed25519 key in a file that only its owner reads, in libp2p's protobuf form.

use libp2p::{PeerId, identity::Keypair};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Who a node is in the network.
#[derive(Clone)]
pub struct Identity(Keypair);

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("the network key {path} cannot be used")]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no network key")]
    Malformed {
        /// The key file.
        path: PathBuf,
    },
}

impl Identity {
    /// A new identity for this process alone.
    pub fn ephemeral() -> Self {
        Self(Keypair::generate_ed25519())
    }

    /// Writes a new key to a file that does not exist yet.
    pub fn create(path: &Path) -> Result<Self, IdentityError> {
        let identity = Self::ephemeral();
        let malformed = |_| IdentityError::Malformed { path: path.into() };
        let bytes = identity.0.to_protobuf_encoding().map_err(malformed)?;
        write_new(path, &bytes).map_err(|source| IdentityError::Io { path: path.into(), source })?;
        Ok(identity)
    }

    /// Reads the key that `create` wrote.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let bytes = fs::read(path).map_err(|source| IdentityError::Io { path: path.into(), source })?;
        let key = Keypair::from_protobuf_encoding(&bytes);
        key.map(Self).map_err(|_| IdentityError::Malformed { path: path.into() })
    }

    /// The id that peers know it by.
    pub fn peer_id(&self) -> PeerId {
        self.0.public().to_peer_id()
    }

    pub(super) fn keypair(&self) -> &Keypair {
        &self.0
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_created_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.key");
        let created = Identity::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Identity::load(&path).unwrap().peer_id(), created.peer_id());
        assert!(matches!(Identity::create(&path), Err(IdentityError::Io { .. })), "it is never overwritten");
    }

    #[test]
    fn another_file_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.key");
        fs::write(&path, b"not a key").unwrap();
        assert!(matches!(Identity::load(&path), Err(IdentityError::Malformed { .. })));
    }
}
