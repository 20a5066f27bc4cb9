//! What several commands show.

use apocryph_model::{Endpoint, Rate};
use apocryph_publisher::{Estimate, Money, Token};
use serde::Serialize;
use std::fmt;

/// A month of 730 hours.
const MONTH: u64 = 730 * 3600;
const HOUR: u64 = 3600;

/// What a pod costs, idle and at most.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cost {
    idle_per_hour: Money,
    idle_per_month: Money,
    full_per_hour: Money,
    full_per_month: Money,
}

impl Cost {
    pub(super) fn of(estimate: &Estimate, token: &Token) -> Self {
        let over = |rate: Rate, seconds| token.money(rate.over(seconds));
        Self {
            idle_per_hour: over(estimate.idle, HOUR),
            idle_per_month: over(estimate.idle, MONTH),
            full_per_hour: over(estimate.full, HOUR),
            full_per_month: over(estimate.full, MONTH),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.6} an hour idle to {:.6} at most; {:.6} to {:.6} a month",
            self.idle_per_hour, self.full_per_hour, self.idle_per_month, self.full_per_month
        )
    }
}

/// Where a pod is reached, with what to type.
pub(super) fn endpoint(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Http { host, gateway, tls, .. } => {
            let scheme = if *tls { "https" } else { "http" };
            format!("{scheme}://{host} (gateway {gateway})")
        }
        Endpoint::Tcp { address, container_port } => {
            format!("{address} (TCP, port {container_port} of the pod)")
        }
    }
}
