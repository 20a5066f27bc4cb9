//! Claims that were mined. What is due is told by the chain; this is for people and for "how long
//! ago".

use crate::{
    Ledger, LedgerError,
    ledger::{amount_from, channel_key, integer, natural, usage_bytes, usage_from},
};
use apocryph_model::{Amount, ChannelId, Hash32, TransactionId, Usage};
use rusqlite::{OptionalExtension, Row, params};

/// A claim that was mined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimEntry {
    /// The channel.
    pub channel: ChannelId,
    /// In which epoch.
    pub epoch: u32,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The epoch's usage that was claimed.
    pub usage: Usage,
    /// What was paid.
    pub paid: Amount,
    /// The transaction.
    pub transaction: TransactionId,
}

impl Ledger {
    /// Writes down claims that were mined in one transaction.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn put_claims(&self, claims: &[ClaimEntry]) -> Result<(), LedgerError> {
        let sql = "INSERT INTO claims (channel, epoch, time_ms, used, paid, tx) VALUES (?, ?, ?, ?, ?, ?)";
        self.transaction(|tx| {
            for claim in claims {
                tx.prepare_cached(sql)?.execute(params![
                    channel_key(&claim.channel),
                    claim.epoch,
                    integer(claim.time_ms),
                    usage_bytes(&claim.usage),
                    claim.paid.0.to_be_bytes(),
                    claim.transaction.0,
                ])?;
            }
            Ok(())
        })
    }

    /// The last claim of a channel's epoch.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn last_claim(&self, channel: ChannelId, epoch: u32) -> Result<Option<ClaimEntry>, LedgerError> {
        let sql = "SELECT channel, epoch, time_ms, used, paid, tx FROM claims
                   WHERE channel = ? AND epoch = ? ORDER BY id DESC LIMIT 1";
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(sql)?;
        Ok(statement.query_row(params![channel_key(&channel), epoch], read_claim).optional()?)
    }
}

fn read_claim(row: &Row<'_>) -> rusqlite::Result<ClaimEntry> {
    Ok(ClaimEntry {
        channel: ChannelId(row.get(0)?),
        epoch: row.get(1)?,
        time_ms: natural(row.get(2)?),
        usage: usage_from(row.get(3)?),
        paid: amount_from(row.get(4)?),
        transaction: Hash32(row.get(5)?),
    })
}
