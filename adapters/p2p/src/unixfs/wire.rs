//! The messages of `dag-pb` and UnixFS, and a bound on what decoding a message may allocate.

use bytes::Bytes;
use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// A link of a `dag-pb` node.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PbLink {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) hash: Option<Bytes>,
    #[prost(string, optional, tag = "2")]
    pub(super) name: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) tsize: Option<u64>,
}

/// A `dag-pb` node. On the wire its links stand before its data, against the order of the tags.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PbNode {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) data: Option<Bytes>,
    #[prost(message, repeated, tag = "2")]
    pub(super) links: Vec<PbLink>,
}

/// The data of a node that stands for a file. `kind` 0 is a leaf of old, 2 a file.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UnixFs {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(super) data: Option<Bytes>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) filesize: Option<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub(super) blocksizes: Vec<u64>,
}

/// Why a message is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldLimit {
    /// Its bytes are no protobuf message.
    #[error("not a protobuf message")]
    Malformed,
    /// Two bytes on the wire can become a hundred in memory, so the count is bounded before decoding.
    #[error("a message of more than {0} fields")]
    TooMany(usize),
}

impl From<DecodeError> for FieldLimit {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

/// Refuses a message that has more than `most` fields, its own and those of its sub-messages with
/// the tags `nested` counted together.
pub(crate) fn limit_fields(bytes: &[u8], most: usize, nested: &[u32]) -> Result<(), FieldLimit> {
    count_fields(bytes, most, nested, 0).map(|_| ())
}

fn count_fields(mut rest: &[u8], most: usize, nested: &[u32], mut count: usize) -> Result<usize, FieldLimit> {
    while !rest.is_empty() {
        count += 1;
        if count > most {
            return Err(FieldLimit::TooMany(most));
        }
        let (tag, kind) = decode_key(&mut rest)?;
        if kind == WireType::LengthDelimited && nested.contains(&tag) {
            count = count_fields(take_delimited(&mut rest)?, most, &[], count)?;
        } else {
            skip_field(kind, tag, &mut rest, DecodeContext::default())?;
        }
    }
    Ok(count)
}

fn take_delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], FieldLimit> {
    let len = usize::try_from(decode_varint(rest)?).map_err(|_| FieldLimit::Malformed)?;
    let (inner, tail) = rest.split_at_checked(len).ok_or(FieldLimit::Malformed)?;
    *rest = tail;
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;

    #[test]
    fn fields_of_nested_messages_count() {
        let node = PbNode {
            data: None,
            links: vec![PbLink { hash: None, name: Some("x".into()), tsize: Some(1) }; 3],
        };
        let bytes = node.encode_to_vec();
        assert_eq!(limit_fields(&bytes, 3, &[]), Ok(()));
        assert_eq!(limit_fields(&bytes, 9, &[2]), Ok(()));
        assert_eq!(limit_fields(&bytes, 8, &[2]), Err(FieldLimit::TooMany(8)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let within = limit_fields(&bytes, 16, &[2]).is_ok();
            if within {
                prop_assert!(PbNode::decode(&bytes[..]).map_or(0, |node| node.links.len()) <= 16);
            }
        }
    }
}
