//! What a benchmark measured. Printed, it is the line of JSON that `cargo run -p xtask -- bench`
//! collects into `report/bench.json`.

use serde::Serialize;

/// A figure of several runs, beside that of a peer in the same runs.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    name: &'static str,
    unit: &'static str,
    #[serde(flatten)]
    measured: Measured,
    peer: Option<&'static str>,
    peer_value: Option<f64>,
    ratio: Option<f64>,
    target: Option<Target>,
    higher_is_better: bool,
    runs: usize,
}

/// One number, or how numbers are spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
enum Measured {
    Value { value: f64 },
    Spread { p50: f64, p99: f64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
enum Target {
    Value(f64),
    Spread { p50: f64, p99: f64 },
}

impl Figure {
    /// The median of what `runs` gave.
    ///
    /// # Panics
    /// If there was no run.
    pub fn median(name: &'static str, unit: &'static str, runs: &[f64]) -> Self {
        Self::new(name, unit, Measured::Value { value: percentile(runs, 50) }, runs.len())
    }

    /// Median and 99th percentile of what `runs` gave.
    ///
    /// # Panics
    /// If there was no run.
    pub fn spread(name: &'static str, unit: &'static str, runs: &[f64]) -> Self {
        let measured = Measured::Spread { p50: percentile(runs, 50), p99: percentile(runs, 99) };
        Self::new(name, unit, measured, runs.len())
    }

    fn new(name: &'static str, unit: &'static str, measured: Measured, runs: usize) -> Self {
        let (peer, peer_value, ratio, target, higher_is_better) = Default::default();
        Self { name, unit, measured, peer, peer_value, ratio, target, higher_is_better, runs }
    }

    /// More of it is better; without this, less is.
    #[must_use]
    pub fn higher_is_better(mut self) -> Self {
        self.higher_is_better = true;
        self
    }

    /// Beside the median of what a peer's runs gave; the ratio is ours to the peer's.
    ///
    /// # Panics
    /// If there was no run.
    #[must_use]
    pub fn beside(mut self, peer: &'static str, runs: &[f64]) -> Self {
        let (Measured::Value { value: own } | Measured::Spread { p50: own, .. }) = self.measured;
        let value = percentile(runs, 50);
        self.peer = Some(peer);
        self.peer_value = Some(value);
        self.ratio = Some(rounded(own / value));
        self
    }

    /// The peer's, where there is one.
    pub fn peer_value(&self) -> Option<f64> {
        self.peer_value
    }

    /// What is to be reached.
    #[must_use]
    pub fn target(mut self, value: f64) -> Self {
        self.target = Some(Target::Value(rounded(value)));
        self
    }

    /// What is to be reached, by median and 99th percentile.
    #[must_use]
    pub fn targets(mut self, p50: f64, p99: f64) -> Self {
        self.target = Some(Target::Spread { p50, p99 });
        self
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

/// By the nearest rank.
fn percentile(runs: &[f64], percent: usize) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    rounded(sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1])
}

/// More digits than three would tell of nothing.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(figure: &Figure) -> Value {
        serde_json::from_str(&figure.to_string()).unwrap()
    }

    #[test]
    fn a_figure_stands_beside_its_peer() {
        let runs: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let figure = Figure::spread("start", "ms", &runs).beside("other", &[50.0, 80.0, 10.0]);
        assert_eq!(
            written(&figure.targets(40.0, 80.0)),
            json!({
                "name": "start", "unit": "ms", "p50": 100.0, "p99": 198.0,
                "peer": "other", "peer_value": 50.0, "ratio": 2.0,
                "target": { "p50": 40.0, "p99": 80.0 }, "higher_is_better": false, "runs": 200,
            })
        );
    }

    #[test]
    fn one_run_is_its_own_median() {
        let figure = written(&Figure::median("speed", "MB/s", &[2.0 / 3.0]).higher_is_better().target(500.0));
        assert_eq!((&figure["value"], &figure["runs"]), (&json!(0.667), &json!(1)));
        assert_eq!((&figure["target"], &figure["peer"]), (&json!(500.0), &Value::Null));
        assert_eq!(figure["higher_is_better"], true);
    }
}
