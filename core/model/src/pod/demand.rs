//! What a pod asks for, in numbers.

use super::{PodSpec, Resources, VolumeKind, VolumeSpec};
use crate::{Bytes, Millicores, Rate, Resource, Tariff, Usage};

impl PodSpec {
    /// What one replica reserves together, its ephemeral volumes included.
    pub fn reserved(&self) -> Resources {
        let mut sum = Resources { cpu: Millicores(0), memory: Bytes(0), storage: self.ephemeral() };
        for container in &self.containers {
            sum.cpu.0 += container.resources.cpu.0;
            sum.memory.0 += container.resources.memory.0;
            sum.storage.0 += container.resources.storage.0;
        }
        sum
    }

    fn ephemeral(&self) -> Bytes {
        let size = |v: &VolumeSpec| match v.kind {
            VolumeKind::Ephemeral { size } => size.0,
            VolumeKind::Persistent { .. } | VolumeKind::Secret => 0,
        };
        Bytes(self.volumes.iter().map(size).sum())
    }

    /// Storage that is reserved also at zero replicas: the persistent volumes.
    pub fn persistent(&self) -> Bytes {
        let size = |v: &VolumeSpec| match v.kind {
            VolumeKind::Persistent { size } => size.0,
            VolumeKind::Ephemeral { .. } | VolumeKind::Secret => 0,
        };
        Bytes(self.volumes.iter().map(size).sum())
    }

    /// What `replicas` replicas use at most in one second, traffic aside.
    pub fn most_per_second(&self, replicas: u32) -> Usage {
        let one = self.reserved();
        let replicas = u64::from(replicas);
        let mut usage = Usage::default();
        usage[Resource::CpuUsed] = u64::from(one.cpu.0) * 1000 * replicas;
        usage[Resource::CpuReserved] = usage[Resource::CpuUsed];
        usage[Resource::Memory] = one.memory.mebibytes() * 1000 * replicas;
        usage[Resource::Storage] =
            (one.storage.mebibytes() * replicas + self.persistent().mebibytes()) * 1000;
        usage
    }

    /// What the pod costs at most under `tariff` while `replicas` run and move `traffic` bytes
    /// per second in and as many out.
    pub fn rate(&self, tariff: &Tariff, replicas: u32, traffic: u64) -> Rate {
        const HOUR: u64 = 3600;
        let mut usage = self.most_per_second(replicas);
        usage[Resource::Ingress] = traffic;
        usage[Resource::Egress] = traffic;
        let hourly = Usage(usage.0.map(|units| units.saturating_mul(HOUR)));
        let scaled = tariff.owed(&hourly).0.saturating_mul(1_000_000_000);
        Rate(scaled.div_ceil(u128::from(HOUR)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Price;

    fn pod() -> PodSpec {
        let json = r#"{"name":"web","scale":{"min":0,"max":2,"idleSeconds":1,"requestsPerReplica":1},
            "containers":[{"name":"c","image":"IMAGE","env":{},"ports":[],"mounts":[],
                "resources":{"cpu":"500m","memory":"64Mi","storage":"1Mi"}}],
            "volumes":[{"name":"kept","kind":{"persistent":{"size":"8Mi"}}},
                {"name":"scratch","kind":{"ephemeral":{"size":"2Mi"}}}]}"#;
        let image = format!("sha256:{}", "0".repeat(64));
        PodSpec::from_json(json.replace("IMAGE", &image).as_bytes()).unwrap()
    }

    #[test]
    fn persistent_storage_is_reserved_once_and_the_rest_per_replica() {
        let most = |replicas| pod().most_per_second(replicas)[Resource::Storage];
        assert_eq!(most(0), 8 * 1000);
        assert_eq!(most(2), (8 + 2 * (1 + 2)) * 1000);
    }

    #[test]
    fn the_rate_is_what_a_second_costs_at_most_rounded_up() {
        let mut tariff = Tariff::default();
        tariff.0[Resource::CpuUsed as usize] = Price(1_000_000_000_000); // 10^-6 of a unit per core-microsecond
        assert_eq!(pod().rate(&tariff, 2, 0), Rate(1_000_000_000));
        tariff.0[Resource::Egress as usize] = Price(1);
        assert_eq!(pod().rate(&tariff, 2, 1).0, 1_000_000_000);
        tariff.0[Resource::Egress as usize] = Price(500_000_000_000_000_000);
        assert_eq!(pod().rate(&tariff, 2, 1), Rate(1_500_000_000));
    }
}
