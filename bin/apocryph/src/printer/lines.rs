//! Progress where there is no terminal: a line per step.

use super::printable;
use apocryph_publisher::{Event, Step};
use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// When each step began, and how many quarters of it were told.
pub(super) struct Lines(Mutex<HashMap<Step, (Instant, u64)>>);

impl Lines {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(super) fn show(&self, event: Event) {
        let line = match event {
            Event::Begun { step } => {
                self.steps(|steps| steps.insert(step, (Instant::now(), 0)));
                return;
            }
            Event::Bytes { step, done, total } => match self.quarter(step, done, total) {
                Some(percent) => format!("{step:16} {percent} % of {total} bytes"),
                None => return,
            },
            Event::Stage { step, stage } => format!("{step:16} {stage}"),
            Event::PassedOver { provider, name, reason } => {
                format!("{:16} passed over {name} ({provider}): {reason}", Step::SelectProvider)
            }
            Event::SourceTrouble { source, problem } => {
                format!("{:16} {}", Step::Provision, Event::source_trouble(&source, &problem))
            }
            Event::HostNotSeen { host } => {
                format!("{:16} {}", Step::SelectProvider, host.advice().unwrap_or_default())
            }
            Event::StillOpen { name, balance, .. } => {
                format!("{:16} {}", Step::OpenChannel, Event::advice_on_open(&name, &balance))
            }
            Event::Done { step, evidence } => {
                let began = self.steps(|steps| steps.remove(&step)).map_or_else(Instant::now, |(at, _)| at);
                let seconds = began.elapsed().as_secs_f32();
                let evidence: Vec<_> = evidence.iter().map(ToString::to_string).collect();
                format!("{step:16} {seconds:.2} s  {}", evidence.join(", "))
            }
        };
        // Progress is a courtesy: without a place to write it the command goes on.
        let _ = writeln!(anstream::stderr(), "{}", printable(line.trim_end()));
    }

    /// The percentage, where another quarter is full.
    fn quarter(&self, step: Step, done: u64, total: u64) -> Option<u64> {
        let quarters = done.saturating_mul(4).checked_div(total)?;
        self.steps(|steps| {
            let (_, told) = steps.get_mut(&step)?;
            let more = quarters > *told;
            *told = quarters.max(*told);
            more.then_some(quarters * 25)
        })
    }

    fn steps<T>(&self, use_them: impl FnOnce(&mut HashMap<Step, (Instant, u64)>) -> T) -> T {
        use_them(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
