//! A provider as the Registry contract lists it.

use crate::{Address, Hash32, PeerAddress, Tariff};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a provider proves what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attestation {
    /// It does not.
    None,
    /// AMD SEV-SNP.
    SevSnp,
    /// Intel TDX.
    Tdx,
    /// A TPM 2.0 of the machine.
    Vtpm,
}

impl Attestation {
    /// In the order of the Registry's codes, from 0.
    pub const ALL: [Self; 4] = [Self::None, Self::SevSnp, Self::Tdx, Self::Vtpm];
}

impl fmt::Display for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::SevSnp => "sev-snp",
            Self::Tdx => "tdx",
            Self::Vtpm => "vtpm",
        })
    }
}

/// Where machines stand: a short text such as `eu-west`.
pub type Region = crate::Name;

/// What a provider offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offering {
    /// The provider's account.
    pub provider: Address,
    /// What it calls itself.
    pub name: String,
    /// Where its machines stand.
    pub regions: Vec<Region>,
    /// Where it is reached, best first.
    pub addresses: Vec<PeerAddress>,
    /// What it asks.
    pub tariff: Tariff,
    /// In which token.
    pub token: Address,
    /// Where it is paid.
    pub payout: Address,
    /// How it proves what it runs.
    pub attestation: Attestation,
    /// SHA-256 of its longer description, published over IPFS; all zeros for none.
    pub description: Hash32,
}
