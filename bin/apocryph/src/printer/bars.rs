//! Progress at a terminal: a bar per step that is under way.

use super::printable;
use apocryph_publisher::{Event, Step};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

const BEGUN: &str = "{spinner} {prefix:16}";
const STAGE: &str = "{spinner} {prefix:16} {msg}";
const BYTES: &str = "{spinner} {prefix:16} {bytes:>11} of {total_bytes} {bar:24}";
const DONE: &str = "✓ {prefix:16} {elapsed:>5} {msg}";

/// The bars of the steps that have begun.
pub(super) struct Bars {
    all: MultiProgress,
    steps: Mutex<HashMap<Step, ProgressBar>>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self { all: MultiProgress::new(), steps: Mutex::default() }
    }

    pub(super) fn pause<T>(&self, ask: impl FnOnce() -> T) -> T {
        self.all.suspend(ask)
    }

    pub(super) fn show(&self, event: Event) {
        match event {
            Event::Begun { step } => self.begin(step),
            Event::Bytes { step, done, total } => self.with(step, |bar| {
                bar.set_style(style(BYTES));
                bar.set_length(total);
                bar.set_position(done);
            }),
            Event::Stage { step, stage } => self.with(step, |bar| {
                bar.set_style(style(STAGE));
                bar.set_message(stage);
            }),
            Event::PassedOver { provider, name, reason } => {
                self.note(&format!(
                    "- {:16} passed over {name} ({provider}): {reason}",
                    Step::SelectProvider
                ));
            }
            Event::SourceTrouble { source, problem } => {
                self.note(&format!("- {:16} {}", Step::Provision, Event::source_trouble(&source, &problem)));
            }
            Event::HostNotSeen { host } => {
                self.note(&format!("- {:16} {}", Step::SelectProvider, host.advice().unwrap_or_default()));
            }
            Event::StillOpen { name, balance, .. } => {
                self.note(&format!("- {:16} {}", Step::OpenChannel, Event::advice_on_open(&name, &balance)));
            }
            Event::Done { step, evidence } => {
                let evidence: Vec<_> = evidence.iter().map(ToString::to_string).collect();
                self.with(step, |bar| {
                    bar.set_style(style(DONE));
                    bar.finish_with_message(printable(&evidence.join(", ")));
                });
            }
        }
    }

    fn begin(&self, step: Step) {
        let bar = self.all.add(ProgressBar::new_spinner().with_prefix(step.as_str()));
        bar.set_style(style(BEGUN));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).insert(step, bar);
    }

    fn with(&self, step: Step, change: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.steps.lock().unwrap_or_else(PoisonError::into_inner).get(&step) {
            change(bar);
        }
    }

    fn note(&self, line: &str) {
        // Progress is a courtesy: without a place to write it the command goes on.
        let _ = self.all.println(printable(line));
    }
}

/// One of the templates above, which a test reads.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [BEGUN, STAGE, BYTES, DONE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
