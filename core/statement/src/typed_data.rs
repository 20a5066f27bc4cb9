use apocryph_model::{Hash32, Statement, keccak256};

const DOMAIN: &[u8] = b"EIP712Domain(string name,string version,uint256 chainId)";
const CALL: &[u8] =
    b"Call(string method,bytes32 channel,string provider,bytes32 payload,uint256 nonce,uint256 expiresAt)";

/// The digest that is signed (EIP-712, `\x19\x01 ‖ domainSeparator ‖ hashStruct`), for the chain
/// that the channel is on.
pub fn digest(statement: &Statement, chain: u64) -> Hash32 {
    let separator = keccak256(&[
        &keccak256(&[DOMAIN]),
        &keccak256(&[b"Apocryph"]),
        &keccak256(&[b"1"]),
        &word(chain.into()),
    ]);
    let call = keccak256(&[
        &keccak256(&[CALL]),
        &keccak256(&[statement.method.as_str().as_bytes()]),
        &statement.channel.0,
        &keccak256(&[statement.provider.as_str().as_bytes()]),
        &statement.payload.0,
        &word(statement.nonce),
        &word(statement.expires_at.into()),
    ]);
    Hash32(keccak256(&[b"\x19\x01", &separator, &call]))
}

/// An integer as a 32-byte word.
fn word(value: u128) -> [u8; 32] {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&value.to_be_bytes());
    word
}
