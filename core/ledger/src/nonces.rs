//! Statements that were seen, so that none counts twice.

use crate::{Ledger, LedgerError, ledger::integer};
use apocryph_model::Address;
use rusqlite::params;

impl Ledger {
    /// Uses up a signer's nonce until it expires; tells whether it was unused. Those that have
    /// expired by `now` (both in seconds since the Unix epoch) are let go.
    ///
    /// # Errors
    /// Whether it was used is unknown: take it as used.
    pub fn use_nonce(
        &self,
        signer: Address,
        nonce: u128,
        expires_at: u64,
        now: u64,
    ) -> Result<bool, LedgerError> {
        self.transaction(|tx| {
            tx.prepare_cached("DELETE FROM nonces WHERE expires_at <= ?")?.execute([integer(now)])?;
            let sql = "INSERT OR IGNORE INTO nonces (signer, nonce, expires_at) VALUES (?, ?, ?)";
            let row = params![signer.0, nonce.to_be_bytes(), integer(expires_at)];
            Ok(tx.prepare_cached(sql)?.execute(row)? == 1)
        })
    }
}
