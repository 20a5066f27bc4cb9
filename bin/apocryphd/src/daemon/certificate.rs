//! The gateway's certificate, which somebody renews while it serves.

use crate::{failure::Failure, settings::TlsSettings};
use apocryph_gateway::Tls;
use apocryph_model::Digest;
use apocryph_seal::sha256;
use std::{path::Path, time::Duration};
use tokio::time::sleep;
use tracing::{info, warn};
use zeroize::Zeroizing;

/// How often the files are read again. Whoever renews certificates does so days before their end.
const PERIOD: Duration = Duration::from_secs(60);

/// A certificate with its key, and the files that they come from.
pub(crate) struct Certificate {
    pub(crate) tls: Tls,
    files: TlsSettings,
    /// Of what was read last, be it of use or not.
    read: Digest,
}

impl Certificate {
    /// Reads both.
    pub(crate) fn read(files: &TlsSettings) -> Result<Self, Failure> {
        let (certificates, key) = contents(files)?;
        let tls = Tls::from_pem(&certificates, &key)?;
        Ok(Self { tls, files: files.clone(), read: digest(&certificates, &key) })
    }

    /// Takes over whatever is put into the files, for as long as it is polled.
    pub(crate) async fn keep_fresh(mut self) {
        loop {
            sleep(PERIOD).await;
            match self.look() {
                Ok(true) => info!(file = %self.files.certificate.display(), "the TLS certificate is renewed"),
                Ok(false) => {}
                Err(problem) => {
                    warn!(%problem, "the TLS certificate is not renewed: the earlier one is used on")
                }
            }
        }
    }

    /// Takes over what is new in the files; tells whether something was. What cannot be used is told
    /// once, for the two files are not written at one moment.
    fn look(&mut self) -> Result<bool, Failure> {
        let (certificates, key) = contents(&self.files)?;
        let found = digest(&certificates, &key);
        if std::mem::replace(&mut self.read, found) == found {
            return Ok(false);
        }
        self.tls.renew(&certificates, &key)?;
        Ok(true)
    }
}

fn contents(files: &TlsSettings) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Failure> {
    let read = |path: &Path| std::fs::read(path).map_err(Failure::file(path));
    Ok((read(&files.certificate)?, Zeroizing::new(read(&files.key)?)))
}

fn digest(certificates: &[u8], key: &[u8]) -> Digest {
    sha256(&[sha256(certificates).0, sha256(key).0].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn pair() -> (String, String) {
        let own = rcgen::generate_simple_self_signed(vec!["a.example".into()]).unwrap();
        (own.cert.pem(), own.key_pair.serialize_pem())
    }

    #[test]
    fn what_is_new_is_taken_and_what_is_of_no_use_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| dir.path().join(name));
        let [(chain, its_key), (new_chain, new_key)] = [pair(), pair()];
        fs::write(&certificate, &chain).unwrap();
        fs::write(&key, &its_key).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let files = TlsSettings { listen, certificate: certificate.clone(), key: key.clone() };
        let mut used = Certificate::read(&files).unwrap();
        assert!(!used.look().unwrap(), "nothing has changed");

        fs::write(&certificate, &new_chain).unwrap();
        assert!(used.look().is_err(), "its key is not there yet");
        assert!(!used.look().unwrap(), "which is told once");
        fs::write(&key, &new_key).unwrap();
        assert!(used.look().unwrap());

        fs::remove_file(&certificate).unwrap();
        assert!(used.look().is_err());
        fs::write(&certificate, &new_chain).unwrap();
        assert!(!used.look().unwrap(), "as it was");
    }
}
