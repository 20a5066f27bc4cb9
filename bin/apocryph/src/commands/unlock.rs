use crate::{
    args::Unlock, durations::display_seconds, failure::Failure, printer::Printer, settings::Settings, world,
};
use apocryph_model::{Name, TransactionId};
use apocryph_publisher::{Kept, Money, Unlocking};
use serde::Serialize;
use std::fmt;

pub(super) async fn run(args: Unlock, settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let publisher = world::publisher(settings, printer).await?;
    if args.cancel {
        let Kept { left, transaction } = publisher.cancel_unlock(&args.name).await?;
        return printer.result("unlock", &Cancelled { name: args.name, left, transaction });
    }
    let unlocking = publisher.unlock(&args.name).await?;
    printer.result("unlock", &Notice::of(args.name, unlocking))
}

/// When money comes back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notice {
    name: Name,
    left: Money,
    /// In seconds since the Unix epoch.
    withdraw_at: u64,
    /// In how many seconds that is.
    seconds: u64,
    transaction: Option<TransactionId>,
}

impl Notice {
    pub(super) fn of(name: Name, unlocking: Unlocking) -> Self {
        let Unlocking { left, at, seconds, transaction } = unlocking;
        Self { name, left, withdraw_at: at, seconds, transaction }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, left, seconds, .. } = self;
        writeln!(f, "{left} are not claimed; the provider may still claim what is owed to it")?;
        match seconds {
            0 => write!(f, "the rest comes back now: apocryph withdraw {name}"),
            _ => write!(f, "the rest comes back in {}: apocryph withdraw {name}", display_seconds(*seconds)),
        }
    }
}

/// A channel that stays open.
#[derive(Serialize)]
struct Cancelled {
    name: Name,
    left: Money,
    transaction: Option<TransactionId>,
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, left, transaction } = self;
        match transaction {
            Some(id) => writeln!(f, "the unlock is cancelled (transaction {id})")?,
            None => writeln!(f, "{name}'s channel is not being unlocked")?,
        }
        write!(
            f,
            "{left} are in the channel; if the provider has ended {name}, `apocryph deploy` brings it back"
        )
    }
}
