//! A DNS server that says what it is told to (RFC 1035), over UDP and TCP.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CNAME, NS, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// What it says of a name. Of any other: that there is no such name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// These texts, a TXT record each, in strings of 255 bytes.
    Texts(Vec<String>),
    /// That it is another name for this one.
    Alias(String),
    /// That it has records, and none of the kind that was asked for (NODATA).
    NoneOfTheKind,
    /// That another server knows (a referral).
    AskElsewhere,
    /// That it failed (SERVFAIL).
    Failed,
    /// That it does not answer such questions (REFUSED).
    Refused,
    /// Nothing at all.
    Silent,
}

/// A server on a free port of the loopback interface, until it is dropped.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Zone>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Zone {
    names: Mutex<HashMap<String, Says>>,
    asked: Mutex<BTreeSet<String>>,
}

impl DnsServer {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start() -> io::Result<Self> {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address).await?;
        let zone = Arc::new(Zone::default());
        let tasks = [
            tokio::spawn(serve_datagrams(udp, zone.clone())),
            tokio::spawn(serve_streams(tcp, zone.clone())),
        ];
        Ok(Self { address, zone, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it say something of a name, in lower case and without a dot at the end.
    pub fn set(&self, name: &str, says: Says) {
        lock(&self.zone.names).insert(name.to_owned(), says);
    }

    /// Has it know nothing of a name any more.
    pub fn clear(&self, name: &str) {
        lock(&self.zone.names).remove(name);
    }

    /// The names that it was asked for since this was asked last.
    pub fn take_asked(&self) -> BTreeSet<String> {
        std::mem::take(&mut lock(&self.zone.asked))
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve_datagrams(socket: UdpSocket, zone: Arc<Zone>) {
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question).await {
        let Some(answer) = zone.answer(&question[..length]) else { continue };
        let whole = answer.to_vec().unwrap_or_default();
        let cut = || answer.truncate().to_vec().unwrap_or_default();
        let datagram = if whole.len() > 512 { cut() } else { whole };
        // Whoever went away asks again.
        let _ = socket.send_to(&datagram, from).await;
    }
}

async fn serve_streams(listener: TcpListener, zone: Arc<Zone>) {
    while let Ok((stream, _)) = listener.accept().await {
        let zone = zone.clone();
        tokio::spawn(async move { serve_stream(stream, &zone).await.ok() });
    }
}

/// Each message comes after its length (RFC 1035, 4.2.2).
async fn serve_stream(mut stream: TcpStream, zone: &Zone) -> io::Result<()> {
    loop {
        let mut question = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut question).await?;
        let Some(answer) = zone.answer(&question) else { continue };
        let bytes = answer.to_vec().map_err(io::Error::other)?;
        stream.write_u16(u16::try_from(bytes.len()).map_err(io::Error::other)?).await?;
        stream.write_all(&bytes).await?;
    }
}

impl Zone {
    /// Nothing where nothing is to be said, or what was asked is no question.
    fn answer(&self, question: &[u8]) -> Option<Message> {
        let asked = Message::from_vec(question).ok()?;
        let query = asked.queries.first()?.clone();
        let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
        answer.add_query(query.clone());
        answer.metadata.recursion_desired = asked.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        self.say(&mut answer, query.name(), query.query_type()).ok()?.then_some(answer)
    }

    /// Tells whether to answer.
    fn say(&self, answer: &mut Message, name: &Name, kind: RecordType) -> Result<bool, ProtoError> {
        let key = name.to_lowercase().to_ascii().trim_end_matches('.').to_owned();
        let says = lock(&self.names).get(&key).cloned();
        lock(&self.asked).insert(key);
        match says {
            Some(Says::Silent) => return Ok(false),
            Some(Says::Failed) => answer.metadata.response_code = ResponseCode::ServFail,
            Some(Says::Refused) => answer.metadata.response_code = ResponseCode::Refused,
            Some(Says::AskElsewhere) => {
                answer.add_authority(record(name, RData::NS(NS(Name::from_ascii("ns.elsewhere.example.")?))));
            }
            Some(Says::Texts(texts)) if kind == RecordType::TXT => {
                answer.add_answers(texts.iter().map(|text| record(name, text_data(text))));
            }
            Some(Says::Alias(target)) => {
                let target = Name::from_ascii(format!("{target}."))?;
                answer.add_answer(record(name, RData::CNAME(CNAME(target.clone()))));
                // As a resolver does, with what the other name has.
                return self.say(answer, &target, kind);
            }
            Some(Says::NoneOfTheKind | Says::Texts(_)) => drop(answer.add_authority(authority(name))),
            None if name.is_root() => drop(answer.add_authority(authority(name))),
            None => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                answer.add_authority(authority(name));
            }
        }
        Ok(true)
    }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), 60, data)
}

/// Who says that there is nothing (RFC 2308).
fn authority(name: &Name) -> Record {
    record(name, RData::SOA(SOA::new(Name::root(), Name::root(), 1, 60, 60, 60, 60)))
}

fn text_data(text: &str) -> RData {
    let first = text.len().min(255);
    let (first, rest) = text.as_bytes().split_at(first);
    RData::TXT(TXT::from_bytes(std::iter::once(first).chain(rest.chunks(255)).collect()))
}
