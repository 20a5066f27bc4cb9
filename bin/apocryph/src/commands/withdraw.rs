use crate::{args::Pod, failure::Failure, printer::Printer, settings::Settings, world};
use apocryph_model::TransactionId;
use apocryph_publisher::{Money, Withdrawn};
use serde::Serialize;
use std::fmt;

pub(super) async fn run(args: Pod, settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let publisher = world::publisher(settings, printer).await?;
    let withdrawn = publisher.withdraw(&args.name).await?;
    printer.result("withdraw", &Refund::of(withdrawn))
}

/// What came back; nothing where the channel was closed before.
#[derive(Serialize)]
struct Refund {
    refund: Option<Money>,
    transaction: Option<TransactionId>,
}

impl Refund {
    fn of(withdrawn: Option<Withdrawn>) -> Self {
        match withdrawn {
            Some(Withdrawn { refund, transaction }) => {
                Self { refund: Some(refund), transaction: Some(transaction) }
            }
            None => Self { refund: None, transaction: None },
        }
    }
}

impl fmt::Display for Refund {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.refund, self.transaction) {
            (Some(refund), Some(transaction)) => write!(f, "{refund} came back (transaction {transaction})"),
            _ => f.write_str("the channel is closed: what was left has come back before"),
        }
    }
}
