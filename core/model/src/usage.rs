//! What a pod used, in integers.

use serde::{Deserialize, Serialize};
use std::ops::{Index, IndexMut};

/// What is metered. The order is that of the contracts' arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Processor time used, in core-microseconds.
    CpuUsed,
    /// Processor reserved while running, in core-microseconds (= millicore-milliseconds).
    CpuReserved,
    /// Memory reserved while running, in MiB-milliseconds.
    Memory,
    /// Storage reserved, also while stopped, in MiB-milliseconds.
    Storage,
    /// Traffic into the pod, in bytes.
    Ingress,
    /// Traffic out of the pod, in bytes.
    Egress,
    /// Accelerators, in device-milliseconds.
    Gpu,
    /// Public addresses, in address-milliseconds.
    Address,
}

impl Resource {
    /// Every resource, in the contracts' order.
    pub const ALL: [Self; 8] = [
        Self::CpuUsed,
        Self::CpuReserved,
        Self::Memory,
        Self::Storage,
        Self::Ingress,
        Self::Egress,
        Self::Gpu,
        Self::Address,
    ];

    /// How many units of usage make the amount that people price: a core-hour, a GiB-hour, a GiB.
    pub fn units_per_priced(self) -> u64 {
        const HOUR_MS: u64 = 3_600_000;
        match self {
            Self::CpuUsed | Self::CpuReserved => HOUR_MS * 1000,
            Self::Memory | Self::Storage => HOUR_MS * 1024,
            Self::Ingress | Self::Egress => 1 << 30,
            Self::Gpu | Self::Address => HOUR_MS,
        }
    }

    /// What people call the amount they price.
    pub fn priced_as(self) -> &'static str {
        match self {
            Self::CpuUsed => "core-hour used",
            Self::CpuReserved => "core-hour reserved",
            Self::Memory => "GiB-hour of memory",
            Self::Storage => "GiB-hour of storage",
            Self::Ingress => "GiB in",
            Self::Egress => "GiB out",
            Self::Gpu => "device-hour",
            Self::Address => "address-hour",
        }
    }
}

/// Amounts of every resource, each in its own unit. Cumulative within a channel's epoch unless
/// said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage(pub [u64; 8]);

impl Usage {
    /// The sum, each resource saturating.
    pub fn saturating_add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].saturating_add(other.0[i])))
    }

    /// What came since `earlier`; `None` where any resource went back.
    pub fn since(self, earlier: Self) -> Option<Self> {
        let mut delta = Self::default();
        for resource in Resource::ALL {
            delta[resource] = self[resource].checked_sub(earlier[resource])?;
        }
        Some(delta)
    }
}

impl Index<Resource> for Usage {
    type Output = u64;
    fn index(&self, resource: Resource) -> &u64 {
        &self.0[resource as usize]
    }
}

impl IndexMut<Resource> for Usage {
    fn index_mut(&mut self, resource: Resource) -> &mut u64 {
        &mut self.0[resource as usize]
    }
}
