//! The edge: wire messages to model values, and back. Past here everything is valid.

mod call;
mod offer;
mod request;
mod status;
mod usage;

pub(super) use call::{Payload, Signed};
pub(super) use offer::nonce;
pub(super) use request::Provisioning;

use apocryph_model::{Address, Amount, Usage};

/// A field that does not hold what belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the field {0} is missing or malformed")]
pub struct Malformed(pub(super) &'static str);

fn fixed<const N: usize>(bytes: &[u8], field: &'static str) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed(field))
}

fn address(bytes: &[u8], field: &'static str) -> Result<Address, Malformed> {
    fixed(bytes, field).map(Address)
}

fn integer(bytes: &[u8], field: &'static str) -> Result<u128, Malformed> {
    fixed(bytes, field).map(u128::from_be_bytes)
}

fn amount(bytes: &[u8], field: &'static str) -> Result<Amount, Malformed> {
    integer(bytes, field).map(Amount)
}

fn usage(units: &[u64], field: &'static str) -> Result<Usage, Malformed> {
    units.try_into().map(Usage).map_err(|_| Malformed(field))
}

fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Malformed> {
    value.ok_or(Malformed(field))
}

fn text<T: std::str::FromStr>(text: &str, field: &'static str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed(field))
}

fn bytes(of: impl AsRef<[u8]>) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(of.as_ref())
}

fn big_endian(value: u128) -> bytes::Bytes {
    bytes(value.to_be_bytes())
}

fn collect<W, M: TryFrom<W>>(wire: Vec<W>) -> Result<Vec<M>, M::Error> {
    wire.into_iter().map(M::try_from).collect()
}

#[cfg(test)]
mod tests;
