//! What the provider must know of a pod to go on after a kill.

use crate::{
    Ledger, LedgerError,
    ledger::{channel_key, natural},
};
use apocryph_model::{Address, Bytes, ChannelId, Digest, Endpoint, Fault, PodId, Terms};
use rusqlite::{OptionalExtension, Params, Row, params};
use serde::{Deserialize, Serialize};

/// How far a pod's life is.
///
/// ```text
///            put                    funds used up
///   (none) ------> Live ----------------------------> OutOfFunds
///                   ^ |  <---------- topped up ---------   |
///       provisioned | |                                    | grace over
///             again | '--> Removed  (publisher's wish)     v
///                   '----- Evicted  (channel ended) <------'
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodState {
    /// Served.
    Live,
    /// Kept at zero replicas until money comes or the grace is over.
    OutOfFunds {
        /// Since when, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// Taken away by the provider.
    Evicted(Fault),
    /// Taken away at the publisher's wish.
    Removed,
}

/// A pod as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// The channel that pays for it.
    pub channel: ChannelId,
    /// Who pays.
    pub publisher: Address,
    /// What the publisher calls it.
    pub pod: PodId,
    /// The channel's epoch.
    pub epoch: u32,
    /// What the epoch is priced by.
    pub terms: Terms,
    /// How far its life is.
    pub state: PodState,
    /// Whether all that was owed when its life ended is claimed, or can never be.
    pub settled: bool,
    /// The sealed specification's digest.
    pub spec: Digest,
    /// Every blob that it owns, the specification's among them.
    pub blobs: Vec<Digest>,
    /// What its volumes reserve also at zero replicas.
    pub persistent: Bytes,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// Its keys, sealed with the provider's state key; empty once its life has ended.
    #[serde(skip)]
    pub sealed: Vec<u8>,
}

impl Pod {
    /// Whether its life has not ended.
    pub fn is_live(&self) -> bool {
        matches!(self.state, PodState::Live | PodState::OutOfFunds { .. })
    }
}

impl Ledger {
    /// Writes a pod down, in place of what was known of it.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn put_pod(&self, pod: &Pod) -> Result<(), LedgerError> {
        let body = serde_json::to_string(pod).map_err(|_| LedgerError::Corrupt { table: "pods" })?;
        let sql = "INSERT OR REPLACE INTO pods (channel, publisher, live, settled, body, sealed)
                   VALUES (?, ?, ?, ?, ?, ?)";
        self.connection()?.prepare_cached(sql)?.execute(params![
            channel_key(&pod.channel),
            pod.publisher.0,
            pod.is_live(),
            pod.settled,
            body,
            pod.sealed,
        ])?;
        Ok(())
    }

    /// What is known of a pod, also after its life has ended.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn pod(&self, channel: ChannelId) -> Result<Option<Pod>, LedgerError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached("SELECT body, sealed FROM pods WHERE channel = ?")?;
        let row = statement.query_row([channel_key(&channel)], columns).optional()?;
        row.map(read).transpose()
    }

    /// Every pod, those whose life has ended too.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn pods(&self) -> Result<Vec<Pod>, LedgerError> {
        self.select("SELECT body, sealed FROM pods", [])
    }

    /// The pods that live, and those whose last money has not been claimed.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn pods_to_look_after(&self) -> Result<Vec<Pod>, LedgerError> {
        self.select("SELECT body, sealed FROM pods WHERE live = 1 OR settled = 0", [])
    }

    /// How many pods live, of `publisher` or of all.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn count_live(&self, publisher: Option<Address>) -> Result<u64, LedgerError> {
        let sql = "SELECT COUNT(*) FROM pods WHERE live = 1 AND publisher = coalesce(?, publisher)";
        let count = self
            .connection()?
            .prepare_cached(sql)?
            .query_row([publisher.map(|publisher| publisher.0)], |row| row.get(0))?;
        Ok(natural(count))
    }

    fn select(&self, sql: &str, parameters: impl Params) -> Result<Vec<Pod>, LedgerError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(parameters, columns)?;
        rows.map(|row| read(row?)).collect()
    }
}

fn columns(row: &Row<'_>) -> rusqlite::Result<(String, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn read((body, sealed): (String, Vec<u8>)) -> Result<Pod, LedgerError> {
    let pod: Pod = serde_json::from_str(&body).map_err(|_| LedgerError::Corrupt { table: "pods" })?;
    Ok(Pod { sealed, ..pod })
}
