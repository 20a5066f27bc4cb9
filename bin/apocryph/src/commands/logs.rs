use crate::{args::Logs, failure::Failure, printer::Printer, settings::Settings, world};
use apocryph_model::{LogLine, LogQuery};
use apocryph_publisher::Error;
use futures::StreamExt as _;
use serde::Serialize;
use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

pub(super) async fn run(args: Logs, settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let publisher = world::publisher(settings, printer).await?;
    let query = LogQuery {
        container: args.container,
        since_ms: args.since.map(|seconds| now_ms().saturating_sub(seconds.saturating_mul(1000))),
        follow: args.follow,
    };
    let mut lines = publisher.logs(&args.name, query).await?;
    while let Some(line) = lines.next().await {
        printer.item(&Line(line.map_err(Error::from)?))?;
    }
    Ok(())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Line(LogLine);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogLine { container, replica, text, .. } = &self.0;
        write!(f, "{container}/{replica} | {text}")
    }
}
