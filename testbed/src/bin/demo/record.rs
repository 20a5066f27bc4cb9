//! What happened, as it is shown and as `report/demo.json` keeps it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// One step of the system, done.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// Its name in the system.
    pub(crate) name: String,
    /// Who did it.
    pub(crate) who: String,
    /// When it began, from the demo's beginning on.
    pub(crate) start_ms: u64,
    /// How long it took.
    pub(crate) duration_ms: u64,
    /// What shows it: a transaction, a digest, an address, a count.
    pub(crate) evidence: String,
}

/// Something that was looked at from outside.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    /// What must be so.
    pub(crate) name: String,
    /// Whether it is.
    pub(crate) held: bool,
    /// What was expected.
    pub(crate) expected: String,
    /// What was found.
    pub(crate) found: String,
}

/// What runs the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    Embedded,
    Kubernetes,
}

impl Engine {
    /// As it is called by `ENGINE`; by default this machine.
    pub(crate) fn of_environment() -> io::Result<Self> {
        match std::env::var("ENGINE").as_deref() {
            Err(_) | Ok("" | "embedded") => Ok(Self::Embedded),
            Ok("kubernetes") => Ok(Self::Kubernetes),
            Ok(other) => Err(io::Error::other(format!("ENGINE={other}: expected embedded or kubernetes"))),
        }
    }
}

/// Everything that happened, in its order.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    engine: Engine,
    machine: String,
    steps: Vec<Step>,
    checks: Vec<Check>,
    #[serde(skip)]
    began: Instant,
}

impl Record {
    pub(crate) fn new(engine: Engine) -> Self {
        let began = Instant::now();
        Self { engine, machine: machine(), steps: Vec::new(), checks: Vec::new(), began }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn machine(&self) -> &str {
        &self.machine
    }

    /// How long the demo has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The step `name` began at `start` and is done now.
    pub(crate) fn step(&mut self, name: &str, who: &str, start: Instant, evidence: impl Into<String>) {
        self.timed_step(name, who, start, start.elapsed(), evidence);
    }

    /// The step `name` began at `start` and took `duration`.
    pub(crate) fn timed_step(
        &mut self,
        name: &str,
        who: &str,
        start: Instant,
        duration: Duration,
        evidence: impl Into<String>,
    ) {
        let step = Step {
            name: name.into(),
            who: who.into(),
            start_ms: milliseconds(start.saturating_duration_since(self.began)),
            duration_ms: milliseconds(duration),
            evidence: evidence.into(),
        };
        crate::print::step(&step);
        self.steps.push(step);
    }

    /// Looks whether what was found is what was expected.
    pub(crate) fn check(&mut self, name: &str, expected: impl ToString, found: impl ToString) {
        let (expected, found) = (expected.to_string(), found.to_string());
        let held = expected == found;
        self.judge(name, held, expected, found);
    }

    /// As [`Record::check`], where only a failure is worth telling.
    pub(crate) fn require(&mut self, name: &str, expected: impl ToString, found: impl ToString) {
        if expected.to_string() != found.to_string() {
            self.check(name, expected, found);
        }
    }

    /// Keeps what was looked at otherwise.
    pub(crate) fn judge(
        &mut self,
        name: &str,
        held: bool,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        let check = Check { name: name.into(), held, expected: expected.into(), found: found.into() };
        crate::print::check(&check);
        self.checks.push(check);
    }

    /// The checks that did not hold.
    pub(crate) fn broken(&self) -> Vec<&Check> {
        self.checks.iter().filter(|check| !check.held).collect()
    }

    /// How many checks were made.
    pub(crate) fn checked(&self) -> usize {
        self.checks.len()
    }

    /// Writes the report.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(self)?)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The machine in one line: processor, cores, memory, kernel.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory: u64 = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    format!(
        "{}, {cores} cores, {} GiB, Linux {}",
        field(&read("/proc/cpuinfo"), "model name"),
        memory.div_ceil(1 << 20),
        read("/proc/sys/kernel/osrelease").trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_the_shape_that_readers_know() {
        let mut record = Record::new(Engine::Embedded);
        record.step("collect", "publisher", Instant::now(), "sha256:00");
        record.check("paid equals owed", 3, 3);
        record.check("nothing is left", "nothing", "mount /x");
        let json = serde_json::to_value(&record).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&json), ["checks", "engine", "machine", "steps"]);
        assert_eq!(keys(&json["steps"][0]), ["duration_ms", "evidence", "name", "start_ms", "who"]);
        assert_eq!(keys(&json["checks"][0]), ["expected", "found", "held", "name"]);
        assert_eq!(record.broken().len(), 1);
        assert_eq!(record.broken()[0].found, "mount /x");
    }
}
