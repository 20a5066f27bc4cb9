//! `check`: what this host lacks, one line each, with the remedy.

use crate::{
    daemon::certificate::Certificate,
    failure::Failure,
    keys,
    printer::Printer,
    settings::{EngineKind, Settings, TlsSettings},
    world,
};
use apocryph_evm::Evm;
use apocryph_link::{NodeReaders, Role};
use apocryph_model::{Address, Amount};
use apocryph_oci::registry;
use apocryph_provider::Chain as _;
use apocryph_publisher::Chain as TokenChain;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};
use tokio::time::timeout;

/// How long readers have to find whoever checks, where no daemon runs: several of their tries.
const READERS_TIME: Duration = Duration::from_secs(3);

/// Something that is missing.
#[derive(Debug, Serialize)]
pub(super) struct Lack {
    what: String,
    remedy: String,
    fatal: bool,
}

#[derive(Serialize)]
struct Report {
    lacks: Vec<Lack>,
}

/// Fails where something is missing without which nothing works.
pub(crate) async fn check(settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let mut lacks = engine(settings).await;
    lacks.extend(ports(settings));
    lacks.extend(certificate(settings.tls.as_ref().filter(|_| settings.file.gateway.here)));
    lacks.extend(link(settings));
    lacks.extend(reader_token(settings));
    lacks.extend(prices(settings));
    lacks.extend(reachable(settings));
    lacks.extend(dns(settings).await);
    match keys::account(settings) {
        Ok(key) => match world::chain(settings, key) {
            Ok(evm) => lacks.extend(chain(settings, &evm).await),
            Err(problem) => lacks.push(fatal(format!("the chain: {problem}"), "set [chain]")),
        },
        Err(problem) => lacks.push(fatal(format!("the account's key: {problem}"), "apocryphd init")),
    }
    if let Err(problem) = keys::node(settings) {
        lacks.push(fatal(format!("the node's key: {problem}"), "apocryphd init"));
    }
    report(lacks, printer)
}

/// Shows what is missing, and fails where nothing works without.
pub(super) fn report(lacks: Vec<Lack>, printer: &Printer) -> Result<(), Failure> {
    let missing = lacks.iter().filter(|lack| lack.fatal).count();
    printer.result(&Report { lacks })?;
    if missing > 0 { Err(Failure::Lacking(missing)) } else { Ok(()) }
}

async fn engine(settings: &Settings) -> Vec<Lack> {
    match settings.file.engine.kind {
        EngineKind::Embedded => {
            let lacks = apocryph_embedded::check(&settings.engine(settings.file.listen.registry.0));
            let lack = |lack: apocryph_embedded::Lack| Lack {
                what: lack.what,
                remedy: lack.remedy,
                fatal: lack.fatal,
            };
            lacks.into_iter().map(lack).collect()
        }
        EngineKind::Kubernetes => {
            let lacks = cluster(settings).await;
            let lack = |lack: apocryph_kubernetes::Lack| Lack {
                what: lack.what,
                remedy: lack.remedy,
                fatal: lack.fatal,
            };
            lacks.into_iter().map(lack).collect()
        }
    }
}

/// Nodes are to find something where the registry will be; a running daemon's is there already.
async fn cluster(settings: &Settings) -> Vec<apocryph_kubernetes::Lack> {
    let listen = settings.file.listen.registry.0;
    let listener = tokio::net::TcpListener::bind(listen).await.ok();
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok()).unwrap_or(listen);
    let config = settings.cluster(address);
    let serve = async {
        if let Some(listener) = listener {
            registry::serve_empty(listener).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        lacks = async { apocryph_kubernetes::check(&config, readers(settings).await.as_ref()).await } => lacks,
        () = serve => Vec::new(),
    }
}

/// The nodes whose readers are connected: to the running daemon, or to this for a moment. `None` where
/// there are to be none, or nobody can tell.
async fn readers(settings: &Settings) -> Option<BTreeSet<String>> {
    let link = settings.readers.as_ref()?;
    let token = keys::link_token(&link.token, Role::NodeReader).ok()?;
    let nodes = match tokio::net::TcpListener::bind(link.listen).await {
        Ok(listener) => {
            let readers = NodeReaders::new(token);
            // It ends with the time that there is.
            let _ = timeout(READERS_TIME, readers.serve(listener)).await;
            readers.nodes()
        }
        Err(_) => NodeReaders::probe(&dialled(link.listen).to_string(), &token).await.ok()?,
    };
    Some(nodes.into_iter().map(String::from).collect())
}

/// Where something that listens here is found.
fn dialled(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        ip if !ip.is_unspecified() => listen,
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listen.port()),
    }
}

/// Ports that something else has. A running daemon has them rightly.
fn ports(settings: &Settings) -> Vec<Lack> {
    if std::os::unix::net::UnixStream::connect(settings.admin_socket()).is_ok() {
        return Vec::new();
    }
    let listen = &settings.file.listen;
    let tcp = |address: SocketAddr| TcpListener::bind(address).err();
    let udp = |address: SocketAddr| UdpSocket::bind(address).err();
    let here = settings.file.gateway.here;
    let tls = settings.tls.as_ref().filter(|_| here);
    let tls = tls.map(|tls| ("listen.gateway-tls", tls.listen, tcp(tls.listen)));
    let plain = here.then(|| ("listen.gateway", listen.gateway.0, tcp(listen.gateway.0)));
    let link = settings.link.as_ref().map(|link| ("listen.gateways", link.listen, tcp(link.listen)));
    let readers = settings.readers.as_ref();
    let readers = readers.map(|link| ("listen.node-readers", link.listen, tcp(link.listen)));
    let tried = [
        ("listen.p2p", listen.p2p.0, tcp(listen.p2p.0).or_else(|| udp(listen.p2p.0))),
        ("listen.registry", listen.registry.0, tcp(listen.registry.0)),
        ("listen.health", listen.health.0, tcp(listen.health.0)),
    ];
    let lack = |(setting, address, problem): (&str, SocketAddr, Option<std::io::Error>)| {
        let what = format!("{setting}: {address} cannot be listened on: {}", problem?);
        Some(fatal(what, format!("free it, or set {setting}")))
    };
    plain.into_iter().chain(tls).chain(link).chain(readers).chain(tried).filter_map(lack).collect()
}

/// What a gateway shows to its clients, where it speaks TLS.
pub(super) fn certificate(tls: Option<&TlsSettings>) -> Option<Lack> {
    let problem = Certificate::read(tls?).err()?;
    let remedy =
        "let tls-certificate and tls-key name PEM files that go together; or take listen.gateway-tls out too";
    Some(fatal(problem.to_string(), remedy))
}

fn link(settings: &Settings) -> Option<Lack> {
    let problem = keys::link_token(&settings.link.as_ref()?.token, Role::Gateway).err()?;
    Some(fatal(problem.to_string(), "`openssl rand -hex 32` makes one"))
}

fn reader_token(settings: &Settings) -> Option<Lack> {
    let problem = keys::link_token(&settings.readers.as_ref()?.token, Role::NodeReader).err()?;
    Some(fatal(problem.to_string(), "`openssl rand -hex 32` makes one"))
}

fn prices(settings: &Settings) -> Option<Lack> {
    settings.is_free().then(|| advice("prices: all are 0, so that pods run for nothing", "set [prices]"))
}

fn reachable(settings: &Settings) -> Option<Lack> {
    let missing = settings.p2p_external().is_empty();
    missing.then(|| fatal("an address by which others reach this node", "set network.external"))
}

/// Pods that bring no host name of their own do without.
async fn dns(settings: &Settings) -> Option<Lack> {
    let problem = settings.dns()?.check().await.err()?;
    Some(advice(
        format!("the DNS, by which publishers prove host names of their own: {problem}"),
        "set gateway.resolver, or gateway.host-names = \"first-come\" where publishers trust one another",
    ))
}

async fn chain(settings: &Settings, evm: &Evm) -> Vec<Lack> {
    if let Err(problem) = evm.check().await {
        return vec![fatal(format!("the chain: {problem}"), "set [chain]")];
    }
    let mut lacks = Vec::new();
    let token = settings.file.chain.token;
    match TokenChain::token(evm, token).await {
        Ok(token) if token.decimals != settings.file.chain.token_decimals => lacks.push(fatal(
            format!("chain.token-decimals: {} has {}, prices would be wrong", token.symbol, token.decimals),
            format!("set chain.token-decimals = {}", token.decimals),
        )),
        Ok(_) => {}
        Err(problem) => lacks.push(fatal(format!("chain.token: {problem}"), "set chain.token")),
    }
    match evm.registered().await {
        Ok(None) => lacks.push(advice(
            "an entry in the Registry: publishers do not find this provider",
            "apocryphd register",
        )),
        Ok(Some(_)) => {}
        Err(problem) => lacks.push(advice(format!("the Registry: {problem}"), "look again later")),
    }
    lacks.extend(coins(evm).await);
    lacks
}

/// Claims cost the chain's own coin, which is what the zero address stands for here.
async fn coins(evm: &Evm) -> Option<Lack> {
    let held = evm.coins().await.ok()?;
    let account: Address = apocryph_provider::Chain::account(evm);
    let none = held == Amount::ZERO;
    none.then(|| fatal(format!("coins to pay for transactions: {account} has none"), "send it some"))
}

pub(super) fn fatal(what: impl Into<String>, remedy: impl Into<String>) -> Lack {
    Lack { what: what.into(), remedy: remedy.into(), fatal: true }
}

fn advice(what: impl Into<String>, remedy: impl Into<String>) -> Lack {
    Lack { fatal: false, ..fatal(what, remedy) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lacks.is_empty() {
            return writeln!(f, "nothing is lacking");
        }
        for lack in &self.lacks {
            let word = if lack.fatal { "lacks" } else { "advice" };
            writeln!(f, "{word:<6}  {}: {}", lack.what, lack.remedy)?;
        }
        Ok(())
    }
}
