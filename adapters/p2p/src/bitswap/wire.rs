//! Bitswap's messages as they are on the wire, and how a stream carries them.

use crate::unixfs::{FieldLimit, limit_fields};
use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use prost::Message as _;
use std::{io, time::Duration};
use tokio::time::timeout;

/// The largest message that is read, in bytes: others fill this much.
pub(super) const MAX_MESSAGE: usize = 4 << 20;
/// The largest message of a peer from which nothing was asked: it has nothing to say but wants.
pub(super) const MAX_WANTS_MESSAGE: usize = 512 << 10;
/// The most entries of a message, of all kinds together.
const MAX_FIELDS: usize = 16 << 10;
const TAG_WANTLIST: u32 = 1;
/// How long a stream may lie idle between messages.
const IDLE: Duration = Duration::from_secs(120);
const PIECE: usize = 64 << 10;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) block: Bytes,
    #[prost(int32, tag = "2")]
    pub(super) priority: i32,
    #[prost(bool, tag = "3")]
    pub(super) cancel: bool,
    /// 0: the block, 1: whether it is there.
    #[prost(int32, tag = "4")]
    pub(super) want_type: i32,
    #[prost(bool, tag = "5")]
    pub(super) send_dont_have: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Wantlist {
    #[prost(message, repeated, tag = "1")]
    pub(super) entries: Vec<Entry>,
    #[prost(bool, tag = "2")]
    pub(super) full: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Payload {
    /// The CID without its hash.
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) prefix: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Presence {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) cid: Bytes,
    /// 0: have, 1: have not.
    #[prost(int32, tag = "2")]
    pub(super) kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Message {
    #[prost(message, optional, tag = "1")]
    pub(super) wantlist: Option<Wantlist>,
    /// Blocks as version 1.0.0 sends them.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) blocks: Vec<Bytes>,
    #[prost(message, repeated, tag = "3")]
    pub(super) payload: Vec<Payload>,
    #[prost(message, repeated, tag = "4")]
    pub(super) presences: Vec<Presence>,
}

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The stream broke or stalled: nobody's fault.
    #[error("the stream broke")]
    Stream(#[from] io::Error),
    #[error("no message: {0}")]
    Malformed(#[from] FieldLimit),
}

/// Reads the length before a message, a varint of at most four bytes; none at the stream's end.
pub(super) async fn read_length(
    stream: &mut (impl AsyncRead + Unpin),
    patience: Duration,
) -> Result<Option<usize>, ReadError> {
    let mut len = 0;
    let mut byte = [0];
    for position in 0..4 {
        let allowed = if position == 0 { IDLE } else { patience };
        if within(allowed, stream.read(&mut byte)).await? == 0 {
            return if position == 0 { Ok(None) } else { Err(FieldLimit::Malformed.into()) };
        }
        len |= usize::from(byte[0] & 0x7f) << (7 * position);
        if byte[0] < 0x80 {
            return Ok(Some(len));
        }
    }
    Err(FieldLimit::Malformed.into())
}

/// Reads a message of `len` bytes. Memory is taken as the bytes arrive, not as they are announced.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    len: usize,
    patience: Duration,
) -> Result<Message, ReadError> {
    let mut body = BytesMut::new();
    while body.len() < len {
        let filled = body.len();
        body.resize(len.min(filled + PIECE), 0);
        within(patience, stream.read_exact(&mut body[filled..])).await?;
    }
    limit_fields(&body, MAX_FIELDS, &[TAG_WANTLIST])?;
    // The blocks are slices of this one buffer.
    Ok(Message::decode(body.freeze()).map_err(|_| FieldLimit::Malformed)?)
}

/// Writes a message; the peer must take some of it within `patience`, time and again.
pub(super) async fn write_message(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &Message,
    patience: Duration,
) -> io::Result<()> {
    let bytes = message.encode_length_delimited_to_vec();
    for piece in bytes.chunks(PIECE) {
        within(patience, stream.write_all(piece)).await?;
    }
    within(patience, stream.flush()).await
}

async fn within<T>(allowed: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(allowed, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;
    use proptest::prelude::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn read(bytes: Vec<u8>) -> Result<Option<Message>, ReadError> {
        let mut stream = Cursor::new(bytes);
        match read_length(&mut stream, PATIENCE).await? {
            None => Ok(None),
            Some(len) => read_message(&mut stream, len, PATIENCE).await.map(Some),
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let payload = Payload { prefix: Bytes::from_static(b"x"), data: vec![7; 200_000].into() };
        let message = Message { payload: vec![payload], ..Message::default() };
        let mut bytes = Vec::new();
        write_message(&mut bytes, &message, PATIENCE).await.unwrap();
        assert_eq!(read(bytes).await.unwrap(), Some(message));
        assert_eq!(read(vec![]).await.unwrap(), None);
    }

    #[tokio::test]
    async fn bounds_hold() {
        assert!(matches!(read(vec![0xff; 9]).await, Err(ReadError::Malformed(_))));
        assert!(matches!(read(vec![9, 0]).await, Err(ReadError::Stream(_))));
        let presences = vec![Presence::default(); MAX_FIELDS + 1];
        let message = Message { presences, ..Message::default() };
        let refused = read(message.encode_length_delimited_to_vec()).await;
        assert!(matches!(refused, Err(ReadError::Malformed(FieldLimit::TooMany(_)))));
    }

    #[tokio::test]
    async fn a_stalled_stream_is_given_up() {
        let (mut ours, theirs) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut ours, &[1, 2, 3]).await.unwrap();
        let mut theirs = tokio_util::compat::TokioAsyncReadCompatExt::compat(theirs);
        let stalled = read_message(&mut theirs, 100, Duration::from_millis(50)).await;
        assert!(matches!(stalled, Err(ReadError::Stream(error)) if error.kind() == io::ErrorKind::TimedOut));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = futures::executor::block_on(async {
                limit_fields(&bytes, 64, &[TAG_WANTLIST]).map(|()| Message::decode(&bytes[..]))
            });
        }
    }
}
