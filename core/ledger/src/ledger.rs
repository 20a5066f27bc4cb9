use crate::{LedgerError, schema};
use apocryph_model::{Amount, ChannelId, Usage};
use rusqlite::{Connection, Transaction};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard},
};

/// The provider's ledger. Calls block on the disk.
pub struct Ledger {
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens the ledger at `path`, made anew where there is none.
    ///
    /// # Errors
    /// The file is not a ledger, of a newer release, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let mut connection = Connection::open(path)?;
        schema::prepare(&mut connection)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    pub(crate) fn connection(&self) -> Result<MutexGuard<'_, Connection>, LedgerError> {
        self.connection.lock().map_err(|_| LedgerError::Poisoned)
    }

    /// All of `work` or nothing of it.
    pub(crate) fn transaction<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut connection = self.connection()?;
        let transaction = connection.transaction()?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

/// Times and counts of this program never reach 2^63.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(crate) fn usage_bytes(usage: &Usage) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (chunk, units) in bytes.chunks_exact_mut(8).zip(usage.0) {
        chunk.copy_from_slice(&units.to_be_bytes());
    }
    bytes
}

pub(crate) fn usage_from(bytes: [u8; 64]) -> Usage {
    let mut usage = Usage::default();
    for (units, chunk) in usage.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *units = u64::from_be_bytes(*chunk);
    }
    usage
}

pub(crate) fn amount_from(bytes: [u8; 16]) -> Amount {
    Amount(u128::from_be_bytes(bytes))
}

pub(crate) fn channel_key(channel: &ChannelId) -> &[u8] {
    &channel.0
}
