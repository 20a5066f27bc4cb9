//! Messages over a TCP connection that only who knows the token can read and write.

use crate::Token;
use serde::{Serialize, de::DeserializeOwned};
use snow::{Builder, HandshakeState, StatelessTransportState};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// The most that a Noise message has, and the most that it carries.
const RECORD: usize = 65_535;
const CONTENT: usize = RECORD - 16;
/// The most that a message has.
pub(crate) const LARGEST: usize = 1 << 20;
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other one has another token, or what it sent was changed on the way.
    #[error("the other side does not have the same token")]
    Secret(#[from] snow::Error),
    /// The other one does not keep to the protocol.
    #[error("the other side says what makes no sense, is it of another release? {0}")]
    Message(#[from] serde_json::Error),
    /// A message is too large.
    #[error("a message of {0} bytes is too large")]
    TooLarge(usize),
    /// The other one says what is not to be said now.
    #[error("the other side does not keep to the protocol, is it of another release?")]
    Senseless,
    /// The other one is silent.
    #[error("the other side was silent for too long")]
    Silent,
}

/// What is written.
pub(crate) struct Writer {
    stream: OwnedWriteHalf,
    state: Arc<StatelessTransportState>,
    nonce: u64,
}

/// What is read.
pub(crate) struct Reader {
    stream: OwnedReadHalf,
    state: Arc<StatelessTransportState>,
    nonce: u64,
}

/// Shakes hands as the one who connected.
pub(crate) async fn initiate(stream: TcpStream, token: &Token) -> Result<(Reader, Writer), LinkError> {
    shake_hands(stream, builder(token)?.build_initiator()?).await
}

/// Shakes hands as the one who was connected to.
pub(crate) async fn respond(stream: TcpStream, token: &Token) -> Result<(Reader, Writer), LinkError> {
    shake_hands(stream, builder(token)?.build_responder()?).await
}

async fn shake_hands(
    mut stream: TcpStream,
    mut state: HandshakeState,
) -> Result<(Reader, Writer), LinkError> {
    let shaking = async {
        while !state.is_handshake_finished() {
            match state.is_my_turn() {
                true => say(&mut stream, &mut state).await?,
                false => hear(&mut stream, &mut state).await?,
            }
        }
        split(stream, state)
    };
    timeout(HANDSHAKE_TIME, shaking).await.map_err(|_| LinkError::Silent)?
}

fn builder(token: &Token) -> Result<Builder<'_>, snow::Error> {
    Builder::new(PATTERN.parse()?).prologue(token.role().prologue())?.psk(0, token.key())
}

async fn say(stream: &mut TcpStream, state: &mut HandshakeState) -> Result<(), LinkError> {
    let mut record = vec![0; RECORD];
    let length = state.write_message(&[], &mut record)?;
    write_record(stream, &record[..length]).await
}

async fn hear(stream: &mut TcpStream, state: &mut HandshakeState) -> Result<(), LinkError> {
    let record = read_record(stream).await?;
    state.read_message(&record, &mut vec![0; RECORD])?;
    Ok(())
}

fn split(stream: TcpStream, state: HandshakeState) -> Result<(Reader, Writer), LinkError> {
    stream.set_nodelay(true)?;
    let state = Arc::new(state.into_stateless_transport_mode()?);
    let (read, write) = stream.into_split();
    let reader = Reader { stream: read, state: state.clone(), nonce: 0 };
    Ok((reader, Writer { stream: write, state, nonce: 0 }))
}

impl Writer {
    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &impl Serialize) -> Result<(), LinkError> {
        let json = serde_json::to_vec(message)?;
        if json.len() > LARGEST {
            return Err(LinkError::TooLarge(json.len()));
        }
        // Not more than a mebibyte.
        let mut whole = (json.len() as u32).to_be_bytes().to_vec();
        whole.extend(json);
        let mut record = vec![0; RECORD];
        for content in whole.chunks(CONTENT) {
            let length = self.state.write_message(self.nonce, content, &mut record)?;
            self.nonce += 1;
            write_record(&mut self.stream, &record[..length]).await?;
        }
        Ok(())
    }
}

impl Reader {
    /// The next message. Not to be dropped before it is there.
    pub(crate) async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, LinkError> {
        let mut whole = self.record().await?;
        let (length, _) = whole.split_first_chunk::<4>().ok_or_else(truncated)?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > LARGEST {
            return Err(LinkError::TooLarge(length));
        }
        while whole.len() < 4 + length {
            whole.extend(self.record().await?);
        }
        Ok(serde_json::from_slice(&whole[4..])?)
    }

    async fn record(&mut self) -> Result<Vec<u8>, LinkError> {
        let record = read_record(&mut self.stream).await?;
        let mut content = vec![0; record.len()];
        let length = self.state.read_message(self.nonce, &record, &mut content)?;
        self.nonce += 1;
        content.truncate(length);
        Ok(content)
    }
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message without a length")
}

async fn write_record(
    stream: &mut (impl tokio::io::AsyncWrite + Unpin),
    record: &[u8],
) -> Result<(), LinkError> {
    let length = u16::try_from(record.len()).map_err(|_| LinkError::TooLarge(record.len()))?;
    let framed = [&length.to_be_bytes(), record].concat();
    Ok(stream.write_all(&framed).await?)
}

async fn read_record(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Vec<u8>, LinkError> {
    let mut record = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut record).await?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use tokio::net::TcpListener;

    fn token(letter: &str) -> Token {
        Token::from_text(&letter.repeat(64), Role::Gateway).unwrap()
    }

    type Ends = [Result<(Reader, Writer), LinkError>; 2];

    async fn ends(ours: &Token, theirs: &Token) -> Ends {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = async { initiate(TcpStream::connect(address).await.unwrap(), ours).await };
        let accept = async { respond(listener.accept().await.unwrap().0, theirs).await };
        let (a, b) = tokio::join!(connect, accept);
        [a, b]
    }

    #[tokio::test]
    async fn messages_of_every_size_arrive_in_order() {
        let [ours, theirs] = ends(&token("a"), &token("a")).await;
        let ((mut reader, _writer), (_reader, mut writer)) = (ours.unwrap(), theirs.unwrap());
        let texts = [0, 1, CONTENT - 6, CONTENT - 5, CONTENT, LARGEST - 2].map(|length| "x".repeat(length));
        let sending = async {
            for text in &texts {
                writer.send(text).await.unwrap();
            }
        };
        let receiving = async {
            for text in &texts {
                assert!(reader.receive::<String>().await.unwrap() == *text, "{}", text.len());
            }
        };
        tokio::join!(sending, receiving);
        let large = "x".repeat(LARGEST - 1);
        assert!(matches!(writer.send(&large).await, Err(LinkError::TooLarge(_))));
    }

    #[tokio::test]
    async fn without_the_token_nothing_is_told() {
        let [ours, theirs] = ends(&token("a"), &token("b")).await;
        assert!(matches!(theirs, Err(LinkError::Secret(_))), "the one who was connected to says nothing");
        assert!(ours.is_err());
        let reader = Token::from_text(&"a".repeat(64), Role::NodeReader).unwrap();
        let [_, theirs] = ends(&reader, &token("a")).await;
        assert!(matches!(theirs, Err(LinkError::Secret(_))), "a reader's is no gateway's");
    }

    #[tokio::test]
    async fn what_was_changed_on_the_way_is_refused() {
        let [ours, theirs] = ends(&token("a"), &token("a")).await;
        let ((mut reader, _writer), (_reader, mut writer)) = (ours.unwrap(), theirs.unwrap());
        let mut record = vec![0; RECORD];
        let length = writer.state.write_message(0, b"\0\0\0\x02{}", &mut record).unwrap();
        record[length - 1] ^= 1;
        write_record(&mut writer.stream, &record[..length]).await.unwrap();
        assert!(matches!(reader.receive::<serde_json::Value>().await, Err(LinkError::Secret(_))));
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_not_waited_for() {
        let [ours, theirs] = ends(&token("a"), &token("a")).await;
        let ((mut reader, _writer), (_reader, mut writer)) = (ours.unwrap(), theirs.unwrap());
        let mut record = vec![0; RECORD];
        let length = writer.state.write_message(0, &[0xff; 4], &mut record).unwrap();
        write_record(&mut writer.stream, &record[..length]).await.unwrap();
        assert!(matches!(reader.receive::<String>().await, Err(LinkError::TooLarge(_))));
    }
}
