//! Measured usage: from cumulative readings to records and totals, in one transaction.

use crate::{
    Ledger, LedgerError,
    ledger::{channel_key, integer, natural, usage_bytes, usage_from},
    record_hash,
};
use apocryph_model::{ChannelId, Hash32, Usage, UsageRecord};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// A reading of one source's cumulative counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// Which channel pays for it.
    pub channel: ChannelId,
    /// In which epoch.
    pub epoch: u32,
    /// What was read: a replica's id, or `volumes`. Names one source of the channel for good.
    pub source: String,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What the source used since it began.
    pub total: Usage,
}

/// What was read last of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastReading {
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What the source had used since it began.
    pub total: Usage,
}

impl Ledger {
    /// Writes down what each source used since its last reading, all or nothing. Repeating it
    /// adds nothing. Counters that went back are a new source's: they count from zero.
    ///
    /// # Errors
    /// Nothing was written; the next reading makes up for it.
    pub fn record(&self, measurements: &[Measurement]) -> Result<(), LedgerError> {
        self.transaction(|tx| measurements.iter().try_for_each(|m| record_one(tx, m)))
    }

    /// The last reading of a source.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn last_reading(&self, channel: ChannelId, source: &str) -> Result<Option<LastReading>, LedgerError> {
        last_reading(&*self.connection()?, channel, source)
    }

    /// Lets go of sources that have ended and will never be read again, all or none.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn forget_sources(&self, sources: &[(ChannelId, String)]) -> Result<(), LedgerError> {
        self.transaction(|tx| {
            let mut delete = tx.prepare_cached("DELETE FROM readings WHERE channel = ? AND source = ?")?;
            for (channel, source) in sources {
                delete.execute(params![channel_key(channel), source])?;
            }
            Ok(())
        })
    }

    /// What was used in a channel's epoch in all.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn total(&self, channel: ChannelId, epoch: u32) -> Result<Usage, LedgerError> {
        total(&*self.connection()?, channel, epoch)
    }

    /// Up to `limit` records of a channel from the number `from` on, in order.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn records(
        &self,
        channel: ChannelId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<UsageRecord>, LedgerError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(
            "SELECT sequence, epoch, time_ms, source, used, previous, hash FROM records
             WHERE channel = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
        )?;
        let range = params![channel_key(&channel), integer(from), integer(limit as u64)];
        let records = statement.query_map(range, read_record)?;
        Ok(records.collect::<Result<_, _>>()?)
    }
}

fn record_one(tx: &Transaction<'_>, measured: &Measurement) -> Result<(), LedgerError> {
    let last = last_reading(tx, measured.channel, &measured.source)?;
    let before = last.map(|reading| reading.total).unwrap_or_default();
    let used = measured.total.since(before).unwrap_or(measured.total);
    if used != Usage::default() {
        append(tx, measured, used)?;
    }
    let sql = "INSERT OR REPLACE INTO readings (channel, source, time_ms, total) VALUES (?, ?, ?, ?)";
    tx.prepare_cached(sql)?.execute(params![
        channel_key(&measured.channel),
        measured.source,
        integer(measured.time_ms),
        usage_bytes(&measured.total),
    ])?;
    Ok(())
}

/// Appends a record to the channel's chain and adds it to the epoch's total.
fn append(tx: &Transaction<'_>, measured: &Measurement, used: Usage) -> Result<(), LedgerError> {
    let (sequence, previous) = head(tx, measured.channel)?;
    let mut record = UsageRecord {
        sequence,
        epoch: measured.epoch,
        time_ms: measured.time_ms,
        source: measured.source.clone(),
        used,
        previous,
        hash: previous,
    };
    record.hash = record_hash(measured.channel, &record);
    insert_record(tx, measured.channel, &record)?;
    let sum = total(tx, measured.channel, measured.epoch)?.saturating_add(used);
    let sql = "INSERT OR REPLACE INTO totals (channel, epoch, used) VALUES (?, ?, ?)";
    let row = params![channel_key(&measured.channel), measured.epoch, usage_bytes(&sum)];
    tx.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn insert_record(tx: &Transaction<'_>, channel: ChannelId, record: &UsageRecord) -> Result<(), LedgerError> {
    let sql = "INSERT INTO records (channel, sequence, epoch, time_ms, source, used, previous, hash)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    tx.prepare_cached(sql)?.execute(params![
        channel_key(&channel),
        integer(record.sequence),
        record.epoch,
        integer(record.time_ms),
        record.source,
        usage_bytes(&record.used),
        record.previous.0,
        record.hash.0,
    ])?;
    Ok(())
}

/// The number of the channel's next record and the hash it continues.
fn head(connection: &Connection, channel: ChannelId) -> Result<(u64, Hash32), LedgerError> {
    let sql = "SELECT sequence, hash FROM records WHERE channel = ? ORDER BY sequence DESC LIMIT 1";
    let last = connection
        .prepare_cached(sql)?
        .query_row([channel_key(&channel)], |row| Ok((natural(row.get(0)?) + 1, Hash32(row.get(1)?))))
        .optional()?;
    Ok(last.unwrap_or((0, Hash32([0; 32]))))
}

fn last_reading(
    connection: &Connection,
    channel: ChannelId,
    source: &str,
) -> Result<Option<LastReading>, LedgerError> {
    let sql = "SELECT time_ms, total FROM readings WHERE channel = ? AND source = ?";
    let read =
        |row: &Row<'_>| Ok(LastReading { time_ms: natural(row.get(0)?), total: usage_from(row.get(1)?) });
    Ok(connection.prepare_cached(sql)?.query_row(params![channel_key(&channel), source], read).optional()?)
}

fn total(connection: &Connection, channel: ChannelId, epoch: u32) -> Result<Usage, LedgerError> {
    let sql = "SELECT used FROM totals WHERE channel = ? AND epoch = ?";
    let read = |row: &Row<'_>| row.get(0).map(usage_from);
    let found =
        connection.prepare_cached(sql)?.query_row(params![channel_key(&channel), epoch], read).optional()?;
    Ok(found.unwrap_or_default())
}

fn read_record(row: &Row<'_>) -> rusqlite::Result<UsageRecord> {
    Ok(UsageRecord {
        sequence: natural(row.get(0)?),
        epoch: row.get(1)?,
        time_ms: natural(row.get(2)?),
        source: row.get(3)?,
        used: usage_from(row.get(4)?),
        previous: Hash32(row.get(5)?),
        hash: Hash32(row.get(6)?),
    })
}
