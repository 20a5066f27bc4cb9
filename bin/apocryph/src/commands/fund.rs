use crate::{
    args::Fund, durations::display_seconds, failure::Failure, printer::Printer, settings::Settings, world,
};
use apocryph_model::TransactionId;
use apocryph_publisher::{Funded, Money};
use serde::Serialize;
use std::fmt;

pub(super) async fn run(args: Fund, settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let publisher = world::publisher(settings, printer).await?;
    let Funded { paid, balance, lasts, transaction } = publisher.fund(&args.name, &args.amount).await?;
    printer.result("fund", &Paid { paid, balance, lasts, transaction })
}

#[derive(Serialize)]
struct Paid {
    paid: Money,
    balance: Money,
    lasts: Option<u64>,
    transaction: Option<TransactionId>,
}

impl fmt::Display for Paid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transaction {
            Some(transaction) => writeln!(f, "{} were paid in (transaction {transaction})", self.paid)?,
            None => writeln!(f, "the payment that was cut off has arrived: nothing more was paid")?,
        }
        let lasts = self.lasts.map_or_else(|| "for ever".into(), display_seconds);
        write!(f, "{} are not claimed, at least {lasts}", self.balance)
    }
}
