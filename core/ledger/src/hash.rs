use crate::ledger::usage_bytes;
use apocryph_model::{ChannelId, Hash32, UsageRecord};
use sha2::{Digest, Sha256};

/// The hash that a record of `channel` must carry: SHA-256 over these bytes, integers big-endian.
///
/// ```text
/// "apocryph-usage/1"                       16 bytes
/// channel                                  32
/// sequence                                  8
/// epoch                                     4
/// time_ms                                   8
/// length of source in bytes, source         8 + length
/// used, in the order of `Resource::ALL`     8 * 8
/// previous                                 32
/// ```
pub fn record_hash(channel: ChannelId, record: &UsageRecord) -> Hash32 {
    let mut hasher = Sha256::new();
    hasher.update(b"apocryph-usage/1");
    hasher.update(channel.0);
    hasher.update(record.sequence.to_be_bytes());
    hasher.update(record.epoch.to_be_bytes());
    hasher.update(record.time_ms.to_be_bytes());
    hasher.update((record.source.len() as u64).to_be_bytes());
    hasher.update(record.source.as_bytes());
    hasher.update(usage_bytes(&record.used));
    hasher.update(record.previous.0);
    Hash32(hasher.finalize().into())
}
