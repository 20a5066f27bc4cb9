//! How many replicas run, and on which providers.

use crate::{convert::Converter, document, duration::Seconds};
use apocryph_model::{Address, Attestation, Constraints, Decimal, PodSpec, Region, Resource, Scale};
use std::collections::BTreeMap;

impl Converter<'_> {
    pub(crate) fn scale(&mut self, scale: document::Scale) -> Option<Scale> {
        let usual = Scale::default();
        let most = i64::from(PodSpec::MAX_REPLICAS);
        let mut number = |field: &str, value: Option<i64>, usual, least, most| match value {
            Some(value) => self.number(&format!("scale.{field}"), value, least, most),
            None => Some(usual),
        };
        let min = number("min", scale.min, usual.min, 0, most);
        let max = number("max", scale.max, usual.max.max(min.unwrap_or(0)), 1, most);
        let requests_per_replica =
            number("requestsPerReplica", scale.requests_per_replica, usual.requests_per_replica, 1, 1 << 20);
        let idle_seconds = match scale.idle {
            Some(text) => self.parse::<Seconds>("scale.idle", &text).map(|s| s.0),
            None => Some(usual.idle_seconds),
        };
        Some(Scale {
            min: min?,
            max: max?,
            idle_seconds: idle_seconds?,
            requests_per_replica: requests_per_replica?,
        })
    }

    pub(crate) fn constraints(&mut self, provider: document::Provider) -> Constraints {
        let address = self.parse_optional::<Address>("provider.address", provider.address.as_deref());
        let region = |this: &mut Self, path: &str, text: String| this.parse::<Region>(path, &text);
        let regions = self.each("provider.regions", provider.regions, region);
        let attestation = self.each("provider.attestation", provider.attestation, Self::attestation);
        Constraints { provider: address, regions, highest: self.prices(provider.highest_prices), attestation }
    }

    fn attestation(&mut self, path: &str, text: String) -> Option<Attestation> {
        let kind = Attestation::ALL.into_iter().find(|kind| kind.to_string() == text);
        if kind.is_none() {
            let known = Attestation::ALL.map(|kind| kind.to_string()).join(", ");
            self.problem(path, format!("{text:?} is not a kind of attestation"), format!("allowed: {known}"));
        }
        kind
    }

    fn prices(&mut self, prices: document::Prices) -> BTreeMap<Resource, Decimal> {
        let fields = [
            ("cpuUsed", Resource::CpuUsed, prices.cpu_used),
            ("cpuReserved", Resource::CpuReserved, prices.cpu_reserved),
            ("memory", Resource::Memory, prices.memory),
            ("storage", Resource::Storage, prices.storage),
            ("ingress", Resource::Ingress, prices.ingress),
            ("egress", Resource::Egress, prices.egress),
            ("gpu", Resource::Gpu, prices.gpu),
            ("address", Resource::Address, prices.address),
        ];
        let mut highest = BTreeMap::new();
        for (field, resource, text) in fields {
            let path = format!("provider.highestPrices.{field}");
            if let Some(price) = self.parse_optional(&path, text.as_deref()) {
                highest.insert(resource, price);
            }
        }
        highest
    }
}
