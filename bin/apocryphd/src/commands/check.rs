//! `check`: what this host has and lacks, one line each, with the remedy.

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
    path::Path,
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

/// What was found, in words, or is missing.
pub(super) type Looked = Result<String, Lack>;

#[derive(Serialize)]
struct Report {
    found: Vec<String>,
    lacks: Vec<Lack>,
}

/// Fails where something is missing without which nothing works.
pub(crate) async fn check(settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let mut looked = engine(settings).await;
    looked.extend(ports(settings));
    looked.extend(certificate(settings.tls.as_ref().filter(|_| settings.file.gateway.here)));
    looked.extend(settings.link.as_ref().map(|link| token(&link.token, Role::Gateway)));
    looked.extend(settings.readers.as_ref().map(|link| token(&link.token, Role::NodeReader)));
    looked.push(prices(settings));
    looked.push(reachable(settings));
    looked.extend(dns(settings).await);
    match keys::account(settings) {
        Ok(key) => match world::chain(settings, key) {
            Ok(evm) => looked.extend(chain(settings, &evm).await),
            Err(problem) => looked.push(Err(fatal(format!("the chain: {problem}"), "set [chain]"))),
        },
        Err(problem) => looked.push(Err(fatal(format!("the account's key: {problem}"), "apocryphd init"))),
    }
    if let Err(problem) = keys::node(settings) {
        looked.push(Err(fatal(format!("the node's key: {problem}"), "apocryphd init")));
    }
    report(looked, printer)
}

/// Shows what there is and what is missing, and fails where nothing works without.
pub(super) fn report(looked: Vec<Looked>, printer: &Printer) -> Result<(), Failure> {
    let (mut found, mut lacks) = (Vec::new(), Vec::new());
    for looked in looked {
        match looked {
            Ok(what) => found.push(what),
            Err(lack) => lacks.push(lack),
        }
    }
    let missing = lacks.iter().filter(|lack| lack.fatal).count();
    printer.result(&Report { found, lacks })?;
    if missing > 0 { Err(Failure::Lacking(missing)) } else { Ok(()) }
}

async fn engine(settings: &Settings) -> Vec<Looked> {
    match settings.file.engine.kind {
        EngineKind::Embedded => {
            let looked = apocryph_embedded::check(&settings.engine(settings.file.listen.registry.0));
            looked.into_iter().map(|looked| looked.map_err(Lack::from)).collect()
        }
        EngineKind::Kubernetes => {
            cluster(settings).await.into_iter().map(|looked| looked.map_err(Lack::from)).collect()
        }
    }
}

impl From<apocryph_embedded::Lack> for Lack {
    fn from(lack: apocryph_embedded::Lack) -> Self {
        Self { what: lack.what, remedy: lack.remedy, fatal: lack.fatal }
    }
}

impl From<apocryph_kubernetes::Lack> for Lack {
    fn from(lack: apocryph_kubernetes::Lack) -> Self {
        Self { what: lack.what, remedy: lack.remedy, fatal: lack.fatal }
    }
}

/// Nodes are to find something where the registry will be; a running daemon's is there already.
async fn cluster(settings: &Settings) -> Vec<apocryph_kubernetes::Looked> {
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
        looked = async { apocryph_kubernetes::check(&config, readers(settings).await.as_ref()).await } => looked,
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
fn ports(settings: &Settings) -> Vec<Looked> {
    if std::os::unix::net::UnixStream::connect(settings.admin_socket()).is_ok() {
        return vec![Ok("ports: the daemon runs, and has its own".into())];
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
    let all = plain.into_iter().chain(tls).chain(link).chain(readers).chain(tried);
    all.map(|(setting, address, problem)| port(setting, address, problem)).collect()
}

/// A port that is to be listened on, and why that cannot be.
pub(super) fn port(setting: &str, address: SocketAddr, problem: Option<std::io::Error>) -> Looked {
    match problem {
        None => Ok(format!("{setting}: {address} is free")),
        Some(problem) => Err(fatal(
            format!("{setting}: {address} cannot be listened on: {problem}"),
            format!("free it, or set {setting}"),
        )),
    }
}

/// What a gateway shows to its clients, where it speaks TLS.
pub(super) fn certificate(tls: Option<&TlsSettings>) -> Option<Looked> {
    let remedy =
        "let tls-certificate and tls-key name PEM files that go together; or take listen.gateway-tls out too";
    let read = Certificate::read(tls?).map_err(|problem| fatal(problem.to_string(), remedy));
    Some(read.map(|_| "TLS: certificate and key go together".into()))
}

/// The secret by which those of a role are known.
pub(super) fn token(file: &Path, role: Role) -> Looked {
    let read = keys::link_token(file, role);
    let lack = |problem: Failure| fatal(problem.to_string(), "`openssl rand -hex 32` makes one");
    read.map_err(lack).map(|_| format!("token: {}", file.display()))
}

fn prices(settings: &Settings) -> Looked {
    if settings.is_free() {
        return Err(advice("prices: all are 0, so that pods run for nothing", "set [prices]"));
    }
    Ok("prices are set".into())
}

fn reachable(settings: &Settings) -> Looked {
    match settings.p2p_external().as_slice() {
        [] => Err(fatal("an address by which others reach this node", "set network.external")),
        [first, ..] => Ok(format!("network: others are told to reach this node at {first}")),
    }
}

/// Pods that bring no host name of their own do without.
async fn dns(settings: &Settings) -> Option<Looked> {
    let checked = settings.dns()?.check().await;
    Some(checked.map(|_| "the DNS answers".into()).map_err(|problem| {
        advice(
            format!("the DNS, by which publishers prove host names of their own: {problem}"),
            "set gateway.resolver, or gateway.host-names = \"first-come\" where publishers trust one another",
        )
    }))
}

async fn chain(settings: &Settings, evm: &Evm) -> Vec<Looked> {
    if let Err(problem) = evm.check().await {
        return vec![Err(fatal(format!("the chain: {problem}"), "set [chain]"))];
    }
    let chain = Ok(format!("chain: {} answers", settings.file.chain.id));
    let registered = match evm.registered().await {
        Ok(Some(_)) => Ok("the Registry has an entry of this provider".into()),
        Ok(None) => Err(advice(
            "an entry in the Registry: publishers do not find this provider",
            "apocryphd register",
        )),
        Err(problem) => Err(advice(format!("the Registry: {problem}"), "look again later")),
    };
    let looked = [chain, payment_token(settings, evm).await, registered];
    looked.into_iter().chain(coins(evm).await).collect()
}

async fn payment_token(settings: &Settings, evm: &Evm) -> Looked {
    match TokenChain::token(evm, settings.file.chain.token).await {
        Ok(token) if token.decimals != settings.file.chain.token_decimals => Err(fatal(
            format!("chain.token-decimals: {} has {}, prices would be wrong", token.symbol, token.decimals),
            format!("set chain.token-decimals = {}", token.decimals),
        )),
        Ok(token) => Ok(format!("token: {}, of {} decimals", token.symbol, token.decimals)),
        Err(problem) => Err(fatal(format!("chain.token: {problem}"), "set chain.token")),
    }
}

/// Claims cost the chain's own coin, which is what the zero address stands for here.
async fn coins(evm: &Evm) -> Option<Looked> {
    let held = evm.coins().await.ok()?;
    let account: Address = apocryph_provider::Chain::account(evm);
    Some(match held == Amount::ZERO {
        true => Err(fatal(format!("coins to pay for transactions: {account} has none"), "send it some")),
        false => Ok(format!("account: {account} has coins to pay for transactions")),
    })
}

pub(super) fn fatal(what: impl Into<String>, remedy: impl Into<String>) -> Lack {
    Lack { what: what.into(), remedy: remedy.into(), fatal: true }
}

fn advice(what: impl Into<String>, remedy: impl Into<String>) -> Lack {
    Lack { fatal: false, ..fatal(what, remedy) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for found in &self.found {
            writeln!(f, "ok      {found}")?;
        }
        for lack in &self.lacks {
            let word = if lack.fatal { "lacks" } else { "advice" };
            writeln!(f, "{word:<6}  {}: {}", lack.what, lack.remedy)?;
        }
        if self.lacks.is_empty() { writeln!(f, "nothing is lacking") } else { Ok(()) }
    }
}
