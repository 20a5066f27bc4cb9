//! What this provider offers, as the Registry lists it, and the longer description of it that
//! everyone may fetch over IPFS.
//!
//! The description is the JSON text `{"description":D,"signature":"0x…"}`, small enough to be one
//! block: its SHA-256, which the Registry holds, is the hash in its CID (version 1, codec raw). The
//! signature is the account's personal one (ERC-191: 65 bytes, `r ‖ s ‖ v`) over the bytes of D as
//! they stand. The same settings give the same text, so `register` names what `run` publishes.

use crate::{failure::Failure, keys, keys::KeyProblem, settings::Settings};
use apocryph_evm::Key;
use apocryph_model::{
    Address, Attestation, Hash32, Offering, PeerAddress, Region, Resource, Terms, keccak256,
};
use apocryph_seal::sha256;
use apocryph_statement::Signer;
use serde::Serialize;

/// What is offered by these settings, and its description.
pub(crate) async fn described(settings: &Settings, key: &Key) -> Result<(Offering, Vec<u8>), Failure> {
    let mut offering = offering(settings, Signer::account(key))?;
    let text = signed(&Description::of(settings, &offering), key).await?;
    offering.description = Hash32(sha256(&text).0);
    Ok((offering, text))
}

fn offering(settings: &Settings, account: Address) -> Result<Offering, Failure> {
    Ok(Offering {
        provider: account,
        name: settings.file.name.clone(),
        regions: settings.file.regions.clone(),
        addresses: addresses(settings)?,
        tariff: settings.tariff,
        token: settings.file.chain.token,
        payout: settings.terms(account).payout,
        attestation: Attestation::None,
        description: Hash32([0; 32]),
    })
}

fn addresses(settings: &Settings) -> Result<Vec<PeerAddress>, Failure> {
    let peer = keys::node(settings)?.peer_id();
    let full =
        |address: String| format!("{address}/p2p/{peer}").parse().map_err(|_| Failure::Multiaddr { address });
    let addresses: Vec<PeerAddress> =
        settings.p2p_external().into_iter().map(full).collect::<Result<_, _>>()?;
    if addresses.is_empty() { Err(Failure::NoAddress) } else { Ok(addresses) }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    provider: Address,
    name: &'a str,
    regions: &'a [Region],
    addresses: &'a [PeerAddress],
    attestation: Attestation,
    chain: u64,
    payment: Address,
    token: Address,
    /// Of what is priced at all.
    prices: Vec<Price>,
    /// As channels are opened with them.
    terms: Terms,
    /// The shortest unlock delay that is accepted, in seconds.
    least_unlock_delay: u64,
    /// How long a deposit must last at its channel's full rate, in seconds.
    least_runway: u64,
}

#[derive(Serialize)]
struct Price {
    resource: Resource,
    /// In whole tokens.
    price: String,
    per: &'static str,
}

impl<'a> Description<'a> {
    fn of(settings: &Settings, offering: &'a Offering) -> Self {
        let file = &settings.file;
        let price = |resource: Resource| Price {
            resource,
            price: offering.tariff.per_priced(resource).display(file.chain.token_decimals),
            per: resource.priced_as(),
        };
        let priced = Resource::ALL.into_iter().filter(|resource| offering.tariff[*resource].0 > 0);
        Self {
            provider: offering.provider,
            name: &offering.name,
            regions: &offering.regions,
            addresses: &offering.addresses,
            attestation: offering.attestation,
            chain: file.chain.id,
            payment: file.chain.payment,
            token: offering.token,
            prices: priced.map(price).collect(),
            terms: settings.terms(offering.provider),
            least_unlock_delay: file.terms.least_unlock_delay.0.as_secs(),
            least_runway: file.terms.least_runway.0.as_secs(),
        }
    }
}

async fn signed(description: &Description<'_>, key: &dyn Signer) -> Result<Vec<u8>, Failure> {
    let text = serde_json::to_string(description).map_err(|error| Failure::Output(error.into()))?;
    let signature = key.sign(personal(text.as_bytes())).await.map_err(KeyProblem::from)?;
    Ok(format!(r#"{{"description":{text},"signature":"0x{}"}}"#, hex::encode(signature.0)).into())
}

/// What is signed of a personal message (ERC-191, version 0x45).
fn personal(message: &[u8]) -> Hash32 {
    let length = message.len().to_string();
    Hash32(keccak256(&[b"\x19Ethereum Signed Message:\n", length.as_bytes(), message]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_statement::{Signature, recover};
    use serde_json::value::Value;

    #[tokio::test]
    async fn whoever_reads_a_description_can_tell_whose_it_is() {
        let key = Key::from_hex(&"11".repeat(32)).unwrap();
        let description = Description {
            provider: Signer::account(&key),
            name: "a \"quoted\" name",
            regions: &[],
            addresses: &[],
            attestation: Attestation::None,
            chain: 31337,
            payment: Address([1; 20]),
            token: Address([2; 20]),
            prices: vec![],
            terms: Terms { tariff: Default::default(), meter_key: Address::ZERO, payout: Address([3; 20]) },
            least_unlock_delay: 3600,
            least_runway: 600,
        };
        let text = String::from_utf8(signed(&description, &key).await.unwrap()).unwrap();
        let whole: Value = serde_json::from_str(&text).unwrap();
        let (described, _) = text["{\"description\":".len()..].rsplit_once(",\"signature\"").unwrap();
        let signature = hex::decode(whole["signature"].as_str().unwrap().trim_start_matches("0x")).unwrap();
        let signature = Signature(signature.try_into().unwrap());
        assert_eq!(recover(personal(described.as_bytes()), &signature), Ok(Signer::account(&key)));
        assert_ne!(recover(personal(b"other words"), &signature), Ok(Signer::account(&key)));
    }
}
