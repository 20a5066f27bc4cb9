use apocryph_model::{PodSpec, Rate, Tariff};
use serde::Serialize;

/// The traffic that a channel is opened for, in bytes per second each way. What a pod moves
/// beyond it is not paid beyond the channel's rate.
pub const TRAFFIC_ALLOWANCE: u64 = 1 << 20;

/// What a pod costs under a tariff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Without requests: the least number of replicas, no traffic.
    pub idle: Rate,
    /// What every replica reserves and can use, no traffic: the least that a channel must allow.
    pub reserved: Rate,
    /// At most: every replica fully used, with [`TRAFFIC_ALLOWANCE`] each way.
    pub full: Rate,
}

impl Estimate {
    /// What `spec` costs under `tariff`.
    pub fn of(spec: &PodSpec, tariff: &Tariff) -> Self {
        Self {
            idle: spec.rate(tariff, spec.scale.min, 0),
            reserved: spec.rate(tariff, spec.scale.max, 0),
            full: spec.rate(tariff, spec.scale.max, TRAFFIC_ALLOWANCE),
        }
    }
}
