//! From the wire's messages to what they mean, and back.

use super::wire::{Entry, Message, Payload, Presence, Wantlist};
use crate::unixfs::{BlockId, Codec, MAX_BLOCK, Version};
use bytes::Bytes;

/// CIDs on the wire are some 36 bytes; what is beyond this names nothing that anyone has.
const MAX_CID: usize = 128;
const SHA2_256: u8 = 0x12;

/// Something that a peer wants of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    /// As the peer wrote it; the answer repeats it.
    pub(super) cid: Bytes,
    /// Whether the block itself is wanted, or only to know of it.
    pub(super) block: bool,
    /// Whether its absence is to be told.
    pub(super) tell_absence: bool,
}

impl Want {
    /// The block, if it is one that can be here.
    pub(super) fn id(&self) -> Option<BlockId> {
        BlockId::try_from(&self.cid[..]).ok()
    }
}

/// What a peer's message says.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// Whether the wants replace all earlier ones.
    pub(super) full: bool,
    pub(super) wants: Vec<Want>,
    pub(super) cancels: Vec<Bytes>,
    /// Blocks by the id that their bytes have; whether they are wanted remains to be seen.
    pub(super) blocks: Vec<(BlockId, Bytes)>,
    /// Wanted blocks that the peer does not have.
    pub(super) absent: Vec<BlockId>,
    /// Blocks with ids that nobody here asks for.
    pub(super) foreign: usize,
}

/// A message that no honest peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMessage {
    #[error("a block of {0} bytes, at most {MAX_BLOCK} are allowed")]
    BlockSize(usize),
    #[error("a content id of {0} bytes, at most {MAX_CID} are allowed")]
    CidSize(usize),
}

impl TryFrom<Message> for Inbound {
    type Error = InvalidMessage;

    fn try_from(message: Message) -> Result<Self, InvalidMessage> {
        let mut inbound = Self::default();
        if let Some(wantlist) = message.wantlist {
            inbound.full = wantlist.full;
            for entry in wantlist.entries {
                inbound.add_entry(entry)?;
            }
        }
        for data in message.blocks {
            inbound.add_block(Some(Codec::DagPb), data)?;
        }
        for Payload { prefix, data } in message.payload {
            inbound.add_block(codec_of(&prefix), data)?;
        }
        let absent = message.presences.iter().filter(|presence| presence.kind == 1);
        inbound.absent = absent.filter_map(|presence| BlockId::try_from(&presence.cid[..]).ok()).collect();
        Ok(inbound)
    }
}

impl Inbound {
    fn add_entry(&mut self, entry: Entry) -> Result<(), InvalidMessage> {
        // A copy, so that a want does not keep the message it came in.
        let cid = Bytes::copy_from_slice(&entry.block);
        if cid.len() > MAX_CID {
            return Err(InvalidMessage::CidSize(cid.len()));
        }
        match entry.cancel {
            true => self.cancels.push(cid),
            false => {
                let (block, tell_absence) = (entry.want_type == 0, entry.send_dont_have);
                self.wants.push(Want { cid, block, tell_absence });
            }
        }
        Ok(())
    }

    fn add_block(&mut self, codec: Option<Codec>, data: Bytes) -> Result<(), InvalidMessage> {
        if data.len() > MAX_BLOCK {
            return Err(InvalidMessage::BlockSize(data.len()));
        }
        match codec {
            Some(codec) => self.blocks.push((BlockId::of(codec, &data), data)),
            None => self.foreign += 1,
        }
        Ok(())
    }
}

/// Reads a CID's prefix: version, codec, hash function, hash length. `None` for what is not exchanged.
/// All four are varints, and those of what is exchanged have one byte each.
fn codec_of(prefix: &[u8]) -> Option<Codec> {
    match prefix {
        [0 | 1, 0x70, SHA2_256, 32] => Some(Codec::DagPb),
        [1, 0x55, SHA2_256, 32] => Some(Codec::Raw),
        _ => None,
    }
}

fn prefix(id: &BlockId) -> Bytes {
    let version = match id.version() {
        Version::V0 => 0,
        Version::V1 => 1,
    };
    Bytes::copy_from_slice(&[version, id.codec() as u8, SHA2_256, 32])
}

/// An answer to a [`Want`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Block(BlockId, Bytes),
    Have(Bytes),
    HaveNot(Bytes),
}

/// The version that a stream was negotiated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// 1.2.0: presences beside blocks.
    Presences,
    /// 1.1.0: blocks with the prefix of their ids.
    Prefixes,
    /// 1.0.0: bare blocks.
    Bare,
}

/// What is told to a peer at once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Outbound {
    pub(super) asks: Vec<BlockId>,
    pub(super) cancels: Vec<BlockId>,
    pub(super) answers: Vec<Answer>,
}

impl Outbound {
    pub(super) fn encode(&self, dialect: Dialect) -> Message {
        let asks = self.asks.iter().map(|id| entry(id, false));
        let entries: Vec<_> = asks.chain(self.cancels.iter().map(|id| entry(id, true))).collect();
        let wantlist = (!entries.is_empty()).then_some(Wantlist { entries, full: false });
        let mut message = Message { wantlist, ..Message::default() };
        for answer in &self.answers {
            message.add(answer, dialect);
        }
        message
    }
}

impl Message {
    fn add(&mut self, answer: &Answer, dialect: Dialect) {
        let presence = |cid: &Bytes, kind| Presence { cid: cid.clone(), kind };
        match (answer, dialect) {
            (Answer::Block(_, data), Dialect::Bare) => self.blocks.push(data.clone()),
            (Answer::Block(id, data), _) => {
                self.payload.push(Payload { prefix: prefix(id), data: data.clone() });
            }
            (Answer::Have(cid), Dialect::Presences) => self.presences.push(presence(cid, 0)),
            (Answer::HaveNot(cid), Dialect::Presences) => self.presences.push(presence(cid, 1)),
            // Older versions know no presences.
            (Answer::Have(_) | Answer::HaveNot(_), _) => {}
        }
    }
}

fn entry(id: &BlockId, cancel: bool) -> Entry {
    Entry { block: id.to_bytes().into(), priority: 1, cancel, want_type: 0, send_dont_have: !cancel }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(outbound: &Outbound, dialect: Dialect) -> Inbound {
        outbound.encode(dialect).try_into().unwrap()
    }

    #[test]
    fn every_dialect_carries_blocks() {
        let data = Bytes::from_static(b"node");
        let id = BlockId::of(Codec::DagPb, &data);
        let answers = vec![Answer::Block(id, data.clone()), Answer::HaveNot(id.to_bytes().into())];
        let outbound = Outbound { answers, ..Outbound::default() };
        for (dialect, absences) in [(Dialect::Presences, 1), (Dialect::Prefixes, 0), (Dialect::Bare, 0)] {
            let inbound = read(&outbound, dialect);
            assert_eq!(inbound.blocks, [(id, data.clone())], "{dialect:?}");
            assert_eq!(inbound.absent.len(), absences, "{dialect:?}");
        }
    }

    #[test]
    fn asks_and_cancels_are_read_back() {
        let (one, two) = (BlockId::of(Codec::Raw, b"1"), BlockId::of(Codec::Raw, b"2"));
        let outbound = Outbound { asks: vec![one], cancels: vec![two], answers: vec![] };
        let inbound = read(&outbound, Dialect::Presences);
        assert_eq!(inbound.wants[0].id(), Some(one));
        assert!(inbound.wants[0].block && inbound.wants[0].tell_absence);
        assert_eq!(inbound.cancels, [two.to_bytes()]);
    }

    #[test]
    fn oversized_parts_are_refused() {
        let block =
            Payload { prefix: prefix(&BlockId::of(Codec::Raw, b"")), data: vec![0; MAX_BLOCK + 1].into() };
        let message = Message { payload: vec![block], ..Message::default() };
        assert_eq!(Inbound::try_from(message).unwrap_err(), InvalidMessage::BlockSize(MAX_BLOCK + 1));
        let entry = Entry { block: vec![1; 200].into(), ..Entry::default() };
        let wantlist = Some(Wantlist { entries: vec![entry], full: true });
        let message = Message { wantlist, ..Message::default() };
        assert_eq!(Inbound::try_from(message).unwrap_err(), InvalidMessage::CidSize(200));
    }
}
