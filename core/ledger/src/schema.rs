//! The tables. Integers of more than 63 bits are big-endian blobs; usage is eight of 64 bits.

use crate::LedgerError;
use rusqlite::Connection;

/// Grows with every change of the tables that an older release cannot read.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE records (
        channel  BLOB NOT NULL,
        sequence INTEGER NOT NULL,
        epoch    INTEGER NOT NULL,
        time_ms  INTEGER NOT NULL,
        source   TEXT NOT NULL,
        used     BLOB NOT NULL,
        previous BLOB NOT NULL,
        hash     BLOB NOT NULL,
        PRIMARY KEY (channel, sequence)
    ) WITHOUT ROWID;
    CREATE TRIGGER records_are_not_changed BEFORE UPDATE ON records
        BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
    CREATE TRIGGER records_are_not_deleted BEFORE DELETE ON records
        BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
    CREATE TABLE readings (
        channel BLOB NOT NULL,
        source  TEXT NOT NULL,
        time_ms INTEGER NOT NULL,
        total   BLOB NOT NULL,
        PRIMARY KEY (channel, source)
    ) WITHOUT ROWID;
    CREATE TABLE totals (
        channel BLOB NOT NULL,
        epoch   INTEGER NOT NULL,
        used    BLOB NOT NULL,
        PRIMARY KEY (channel, epoch)
    ) WITHOUT ROWID;
    CREATE TABLE pods (
        channel   BLOB NOT NULL PRIMARY KEY,
        publisher BLOB NOT NULL,
        live      INTEGER NOT NULL,
        settled   INTEGER NOT NULL,
        body      TEXT NOT NULL,
        sealed    BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX pods_to_look_after ON pods (live, settled, publisher);
    CREATE TABLE nonces (
        signer     BLOB NOT NULL,
        nonce      BLOB NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (signer, nonce)
    ) WITHOUT ROWID;
    CREATE INDEX nonces_by_expiry ON nonces (expires_at);
    CREATE TABLE claims (
        id          INTEGER PRIMARY KEY,
        channel     BLOB NOT NULL,
        epoch       INTEGER NOT NULL,
        time_ms     INTEGER NOT NULL,
        used        BLOB NOT NULL,
        paid        BLOB NOT NULL,
        tx          BLOB NOT NULL
    );
    CREATE INDEX claims_by_channel ON claims (channel, epoch, id);
";

/// Makes the connection durable and its tables the newest.
pub(crate) fn prepare(connection: &mut Connection) -> Result<(), LedgerError> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let transaction = connection.transaction()?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        VERSION => return Ok(()),
        0 => transaction.execute_batch(TABLES)?,
        _ => return Err(LedgerError::Newer { found, known: VERSION }),
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}
