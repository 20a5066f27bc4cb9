//! `--strategy ask`: the user picks the provider.

use crate::printer::Printer;
use apocryph_publisher::{Candidate, Chooser};
use inquire::Select;

/// Asks at the terminal.
pub(crate) struct Terminal(pub(crate) Printer);

impl Chooser for Terminal {
    fn choose(&self, candidates: &[Candidate]) -> Option<usize> {
        let lines: Vec<_> = candidates.iter().map(line).collect();
        let ask = || Select::new("Which provider?", lines).raw_prompt().ok();
        self.0.pause(ask).map(|picked| picked.index)
    }
}

fn line(candidate: &Candidate) -> String {
    let Candidate { offering, token, estimate } = candidate;
    let regions: Vec<_> = offering.regions.iter().map(|region| region.as_str()).collect();
    format!(
        "{} ({}), {}: at most {:.6} an hour, {:.6} idle, attestation {}",
        offering.name,
        offering.provider,
        regions.join(" "),
        token.hourly(estimate.full),
        token.hourly(estimate.idle),
        offering.attestation,
    )
}
