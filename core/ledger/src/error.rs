/// Why the ledger did not do what it was asked. Whatever it is, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read or written: no space, no rights, a broken disk.
    #[error("the ledger cannot be read or written")]
    Storage(#[from] rusqlite::Error),
    /// An entry is not what this release writes.
    #[error("the ledger holds an entry of {table} that cannot be understood: restore it from a backup")]
    Corrupt {
        /// Where.
        table: &'static str,
    },
    /// The file was written by a newer release.
    #[error("the ledger has format {found}, this release knows {known}: use the newer release")]
    Newer {
        /// As stored.
        found: i64,
        /// As known.
        known: i64,
    },
    /// Another thread panicked while it wrote.
    #[error("the ledger was left in an unknown state by a defect: restart the daemon")]
    Poisoned,
}
