//! The whole loop on one machine: a dev chain, three providers, a publisher and an outside client,
//! every one of them real and a process of its own. What is shown is looked at from outside.
//!
//! With `ENGINE=kubernetes` pods run on the cluster that the environment tells of. With `KEEP=1` everything is left running at the end; `demo sweep` ends it, and whatever earlier runs
//! left.

mod acts;
mod failure;
mod guide;
mod print;
mod record;
mod secrecy;
mod stage;

use std::path::Path;
use std::process::ExitCode;

use apocryph_testbed::market::sweep_all;
use tokio::signal::unix::{SignalKind, signal};

use failure::{During, Failure, Result};
use record::{Engine, Record};
use stage::Stage;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("sweep") {
        return sweep();
    }
    let mut record = match Engine::of_environment() {
        Ok(engine) => Record::new(engine),
        Err(error) => return print::unknown_engine(&error),
    };
    let outcome = tokio::select! {
        outcome = play(&mut record) => outcome,
        failure = interrupted() => Err(failure),
    };
    finish(&record, outcome)
}

/// Everything, and the cleaning up after it; gives what to say in the end. Everything is taken away also when this is dropped.
async fn play(record: &mut Record) -> Result<Vec<String>> {
    let mut stage = Stage::set(record).await?;
    acts::all(record, &mut stage).await?;
    if std::env::var("KEEP").is_ok_and(|keep| !keep.is_empty() && keep != "0") {
        return guide::leave(stage).await;
    }
    acts::end::act(record, stage).await?;
    Ok(Vec::new())
}

/// Ends what earlier demos left running.
fn sweep() -> ExitCode {
    let swept = sweep_all();
    print::swept(&swept);
    if swept.is_ok_and(|withstood| withstood.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn interrupted() -> Failure {
    let signals = signal(SignalKind::interrupt()).and_then(|i| Ok((i, signal(SignalKind::terminate())?)));
    match signals.during("listening for signals") {
        Err(failure) => failure,
        Ok((mut interrupt, mut terminate)) => {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            Failure::Interrupted
        }
    }
}

fn finish(record: &Record, outcome: Result<Vec<String>>) -> ExitCode {
    print::table(record);
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("../report/demo.json");
    let written = record.write(&report).during("writing report/demo.json");
    let outcome = outcome.and_then(|lines| written.map(|()| lines));
    print::verdict(record);
    match &outcome {
        Ok(lines) => print::lines(lines),
        Err(failure) => print::failed(failure),
    }
    if outcome.is_ok() && record.broken().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
