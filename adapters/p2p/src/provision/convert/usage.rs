//! Logs and the ledger.

use super::{Malformed, bytes, fixed, text, usage};
use crate::provision::wire;
use apocryph_model::{Hash32, LogLine, UsageRecord};

/// Replica ids and sources of usage are short words.
const MAX_WORD: usize = 128;
/// A log line has at most 16 KiB.
const MAX_LINE: usize = 16 << 10;

fn word(text: String, field: &'static str) -> Result<String, Malformed> {
    if text.len() > MAX_WORD { Err(Malformed(field)) } else { Ok(text) }
}

impl TryFrom<wire::LogLine> for LogLine {
    type Error = Malformed;

    fn try_from(wire: wire::LogLine) -> Result<Self, Malformed> {
        if wire.text.len() > MAX_LINE {
            return Err(Malformed("text"));
        }
        Ok(Self {
            time_ms: wire.time_ms,
            replica: word(wire.replica, "replica")?,
            container: text(&wire.container, "container")?,
            stderr: wire.stderr,
            text: wire.text,
        })
    }
}

impl From<LogLine> for wire::LogLine {
    fn from(line: LogLine) -> Self {
        Self {
            time_ms: line.time_ms,
            replica: line.replica,
            container: line.container.into(),
            stderr: line.stderr,
            text: line.text,
        }
    }
}

impl TryFrom<wire::UsageRecord> for UsageRecord {
    type Error = Malformed;

    fn try_from(wire: wire::UsageRecord) -> Result<Self, Malformed> {
        Ok(Self {
            sequence: wire.sequence,
            epoch: wire.epoch,
            time_ms: wire.time_ms,
            source: word(wire.source, "source")?,
            used: usage(&wire.used, "used")?,
            previous: Hash32(fixed(&wire.previous, "previous")?),
            hash: Hash32(fixed(&wire.hash, "hash")?),
        })
    }
}

impl From<UsageRecord> for wire::UsageRecord {
    fn from(record: UsageRecord) -> Self {
        Self {
            sequence: record.sequence,
            epoch: record.epoch,
            time_ms: record.time_ms,
            source: record.source,
            used: record.used.0.to_vec(),
            previous: bytes(record.previous),
            hash: bytes(record.hash),
        }
    }
}
