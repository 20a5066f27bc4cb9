use super::unlock::Notice;
use crate::{args::Pod, failure::Failure, printer::Printer, settings::Settings, world};
use apocryph_model::Name;
use apocryph_publisher::Removed;
use serde::Serialize;
use std::fmt;

pub(super) async fn run(args: Pod, settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let publisher = world::publisher(settings, printer).await?;
    let removed = publisher.remove(&args.name).await?;
    printer.result("remove", &Ended::of(args.name, removed))
}

#[derive(Serialize)]
struct Ended {
    name: Name,
    /// What the provider said, where it did not end the pod.
    provider: Option<String>,
    unlocking: Option<Notice>,
}

impl Ended {
    fn of(name: Name, removed: Removed) -> Self {
        let notice = |unlocking| Notice::of(name.clone(), unlocking);
        let unlocking = removed.unlocking.map(notice);
        Self { provider: removed.provider.err().map(|e| e.to_string()), unlocking, name }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.provider {
            None => writeln!(f, "{} is removed", self.name)?,
            Some(problem) => writeln!(
                f,
                "the provider could not be told ({problem}): it ends {} once it sees the unlock",
                self.name
            )?,
        }
        match &self.unlocking {
            Some(notice) => notice.fmt(f),
            None => f.write_str("its channel is closed: nothing is left to withdraw"),
        }
    }
}
