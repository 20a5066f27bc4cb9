//! What the command line, the environment and the configuration file mean together.

pub(crate) mod file;
mod joined;
mod template;
pub(crate) mod text;

use crate::args::Overrides;
use apocryph_dns::Dns;
use apocryph_embedded::{Config as EngineConfig, InstanceName, Subnet};
use apocryph_kubernetes::{Config as ClusterConfig, Gateways, InstanceName as ClusterName};
use apocryph_model::{
    Address, Amount, Attestation, Decimal, Hostname, ParseAmountError, PeerId, Price, Resource, Tariff, Terms,
};
use apocryph_provider::{ClaimPolicy, Limits, Settings as ProviderSettings};
pub(crate) use file::{Decrypt, EngineKind};
use file::{File, Gateway, HostNames};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};
use text::{Listener, Text};

pub(crate) use joined::{LinkSettings, TlsSettings};
pub(crate) use template::template;

/// Why the settings do not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The configuration file cannot be read.
    #[error("{path}: {problem}: `apocryphd init` writes one, --config names another")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// The configuration file holds something that it must not.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and what is allowed.
        problem: String,
    },
    /// A price or amount cannot be expressed in the token.
    #[error("{path}: {key}: {problem}")]
    Money {
        /// The file.
        path: PathBuf,
        /// Which.
        key: &'static str,
        /// What is wrong.
        problem: ParseAmountError,
    },
    /// A setting that has no default is still as `init` writes it.
    #[error("chain.{key} is not set yet: put the address of the {what} into the configuration")]
    Unset {
        /// Which.
        key: &'static str,
        /// What it names.
        what: &'static str,
    },
    /// A setting does not go with another.
    #[error("{path}: {problem}")]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What, and what to do.
        problem: String,
    },
}

/// Everything that is set, with each value valid by itself.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What the configuration file says, with flags and environment before it.
    pub(crate) file: File,
    /// What is asked.
    pub(crate) tariff: Tariff,
    /// What a coin of the chain is worth, in the token's smallest unit.
    coin_worth: Amount,
    /// The certificate and key of the gateway.
    pub(crate) tls: Option<TlsSettings>,
    /// How other gateways connect, if any do.
    pub(crate) link: Option<LinkSettings>,
    /// How readers on the nodes of a cluster connect, if there are some.
    pub(crate) readers: Option<LinkSettings>,
    engine_name: InstanceName,
    cluster_name: ClusterName,
    subnet: Subnet,
    domain: Hostname,
}

/// The daemon's configuration file, where no other is named.
pub(crate) fn default_config() -> PathBuf {
    "/etc/apocryph/apocryphd.toml".into()
}

impl Settings {
    /// Reads the configuration file and lets flags and environment go before it.
    pub(crate) fn load(overrides: Overrides) -> Result<Self, SettingsError> {
        let path = overrides.config.unwrap_or_else(default_config);
        let mut file: File = file::read(&path)?;
        file.data_dir = overrides.data_dir.unwrap_or(file.data_dir);
        file.run_dir = overrides.run_dir.unwrap_or(file.run_dir);
        file.log.format = overrides.log_format.unwrap_or(file.log.format);
        file.kubernetes.registry_name = overrides.registry_name.or(file.kubernetes.registry_name);
        if !overrides.rpc.is_empty() {
            file.chain.rpc = overrides.rpc;
        }
        Self::of(&path, file)
    }

    fn of(path: &Path, file: File) -> Result<Self, SettingsError> {
        let contradiction =
            |problem: &str| SettingsError::Contradiction { path: path.into(), problem: problem.into() };
        if file.chain.rpc.is_empty() {
            return Err(contradiction("chain.rpc is empty: name an endpoint, or give --rpc"));
        }
        let for_this_host = file.engine.kind == EngineKind::Embedded;
        if for_this_host && !file.listen.registry.0.ip().is_loopback() {
            return Err(contradiction(
                "listen.registry is not a loopback address: it serves this host's engine alone",
            ));
        }
        let Gateway { tls_certificate, tls_key, .. } = &file.gateway;
        let tls = TlsSettings::of(&file.listen.gateway_tls, tls_certificate, tls_key);
        let tls = tls.map_err(|_| {
            contradiction(
                "listen.gateway-tls, gateway.tls-certificate and gateway.tls-key go together: set all or none",
            )
        })?;
        let link = LinkSettings::of(&file.listen.gateways, &file.gateway.token_file);
        let link = link.map_err(|_| {
            contradiction("listen.gateways and gateway.token-file go together: set both or none")
        })?;
        let readers = LinkSettings::of(&file.listen.node_readers, &file.kubernetes.reader_token_file);
        let readers = readers.map_err(|_| {
            contradiction(
                "listen.node-readers and kubernetes.reader-token-file go together: set both or none",
            )
        })?;
        if link.is_none() && !file.gateway.here {
            return Err(contradiction(
                "gateway.here is false and no other gateway can connect: set listen.gateways and gateway.token-file",
            ));
        }
        // The defaults of these are texts that parse, which a test makes sure of.
        let text = "a default does not parse: this is a defect";
        let engine_name = match &file.engine.name {
            Some(Text(name)) => name.clone(),
            None => "apocryph".parse().map_err(|_| contradiction(text))?,
        };
        let cluster_name = engine_name.to_string().parse().map_err(|_| contradiction(text))?;
        let subnet = match &file.engine.subnet {
            Some(Text(subnet)) => *subnet,
            None => "10.88.0.0/16".parse().map_err(|_| contradiction(text))?,
        };
        let domain = match &file.gateway.domain {
            Some(domain) => domain.clone(),
            None => "apocryph.localhost".parse().map_err(|_| contradiction(text))?,
        };
        let tariff = tariff(path, &file)?;
        let coin_worth = coin_worth(path, &file)?;
        Ok(Self { tariff, coin_worth, tls, link, readers, engine_name, cluster_name, subnet, domain, file })
    }

    /// Refuses addresses of the chain that nobody has filled in yet.
    pub(crate) fn check_chain(&self) -> Result<(), SettingsError> {
        let chain = &self.file.chain;
        let all = [
            ("payment", "Payment contract", chain.payment),
            ("registry", "Registry contract", chain.registry),
            ("token", "token to be paid in", chain.token),
        ];
        match all.into_iter().find(|(_, _, address)| *address == Address::ZERO) {
            Some((key, what, _)) => Err(SettingsError::Unset { key, what }),
            None => Ok(()),
        }
    }

    /// Whether nothing is asked, so that pods run for nothing.
    pub(crate) fn is_free(&self) -> bool {
        self.tariff.0.iter().all(|price| price.0 == 0)
    }

    /// A file or folder of the data directory.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.file.data_dir.join(name)
    }

    /// Where the running daemon answers `status`.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.file.data_dir.join("admin.sock")
    }

    /// The account's key file and the file with its password.
    pub(crate) fn key_files(&self) -> (PathBuf, PathBuf) {
        let account = &self.file.account;
        let or = |set: &Option<PathBuf>, name: &str| set.clone().unwrap_or_else(|| self.data(name));
        (or(&account.key_file, "account.json"), or(&account.password_file, "account.password"))
    }

    /// What pods without a host name are put under.
    pub(crate) fn domain(&self) -> &Hostname {
        &self.domain
    }

    /// What host names that publishers bring are proved by; nothing where they need no proof.
    pub(crate) fn dns(&self) -> Option<Dns> {
        let Gateway { host_names, resolver, .. } = &self.file.gateway;
        let server = resolver.as_ref().map(|Listener(server)| *server);
        (*host_names == HostNames::Dns).then(|| Dns::new(server))
    }

    /// The gateway's address as publishers are told it, and whether it speaks TLS there.
    pub(crate) fn public_gateway(&self) -> (SocketAddr, bool) {
        let listen = self.tls.as_ref().map_or(self.file.listen.gateway.0, |tls| tls.listen);
        let port = self.file.gateway.public_port.unwrap_or(listen.port());
        (SocketAddr::new(self.public_ip(), port), self.tls.is_some())
    }

    /// The IP address that publishers are told.
    pub(crate) fn public_ip(&self) -> IpAddr {
        let listen = self.file.listen.gateway.0.ip();
        let default = if listen.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen };
        self.file.gateway.public_address.unwrap_or(default)
    }

    /// What a channel's claims are priced by.
    pub(crate) fn terms(&self, account: Address) -> Terms {
        let payout = self.file.account.payout.unwrap_or(account);
        Terms { tariff: self.tariff, meter_key: Address::ZERO, payout }
    }

    /// The multiaddrs to listen on: TCP and QUIC at the same address.
    pub(crate) fn p2p_listen(&self) -> [String; 2] {
        multiaddrs(self.file.listen.p2p.0)
    }

    /// The multiaddrs by which others reach this node.
    pub(crate) fn p2p_external(&self) -> Vec<String> {
        let listen = self.file.listen.p2p.0;
        let external = self.file.network.external.clone();
        match external.is_empty() && !listen.ip().is_unspecified() && listen.port() != 0 {
            true => multiaddrs(listen).into(),
            false => external,
        }
    }

    /// The engine's part.
    pub(crate) fn engine(&self, registry: SocketAddr) -> EngineConfig {
        let file = &self.file;
        let (data_dir, run_dir) = (self.data("engine"), file.run_dir.clone());
        EngineConfig {
            runtime: file.engine.runtime.clone(),
            stop_grace: file.engine.stop_grace.0,
            image_limit: file.engine.image_limit,
            ..EngineConfig::new(self.engine_name.clone(), data_dir, run_dir, registry, self.subnet)
        }
    }

    /// The engine's part, where it is a cluster.
    pub(crate) fn cluster(&self, registry: SocketAddr) -> ClusterConfig {
        let file = &self.file.kubernetes;
        let registry_name = file.registry_name.clone().unwrap_or_else(|| registry.to_string());
        let gateways =
            Gateways { networks: file.gateway_networks.clone(), namespace: file.gateway_namespace.clone() };
        ClusterConfig {
            kubeconfig: file.kubeconfig.clone(),
            stop_grace: self.file.engine.stop_grace.0,
            start_timeout: file.start_timeout.0,
            runtime_class: file.runtime_class.clone(),
            seccomp_profile: file.seccomp_profile.clone(),
            storage_class: file.storage_class.clone(),
            gateways,
            ..ClusterConfig::new(self.cluster_name.clone(), self.data("engine"), registry_name)
        }
    }

    /// The provider's part.
    pub(crate) fn provider(&self, peer: PeerId, account: Address) -> ProviderSettings {
        let file = &self.file;
        ProviderSettings {
            peer,
            token: file.chain.token,
            terms: self.terms(account),
            attestation: Attestation::None,
            least_runway: file.terms.least_runway.0.as_secs(),
            least_unlock_delay: file.terms.least_unlock_delay.0.as_secs(),
            grace: file.terms.grace.0,
            meter_period: file.metering.period.0,
            reconcile_period: file.metering.reconcile.0,
            claims: ClaimPolicy {
                fee_factor: file.claims.fee_factor,
                coin_worth: self.coin_worth,
                period: file.claims.period.0,
                before_end: file.claims.before_end.0,
            },
            limits: Limits {
                pods: file.limits.pods,
                pods_per_publisher: file.limits.pods_per_publisher,
                pod_bytes: file.limits.pod_size.0,
                provisions: file.limits.provisions,
                provision_time: file.limits.provision_time.0,
                linger: file.limits.linger.0,
            },
        }
    }
}

fn multiaddrs(address: SocketAddr) -> [String; 2] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => format!("/ip4/{ip}"),
        IpAddr::V6(ip) => format!("/ip6/{ip}"),
    };
    let port = address.port();
    [format!("{ip}/tcp/{port}"), format!("{ip}/udp/{port}/quic-v1")]
}

fn tariff(path: &Path, file: &File) -> Result<Tariff, SettingsError> {
    let prices = &file.prices;
    let all = [
        ("prices.cpu-used", Resource::CpuUsed, &prices.cpu_used),
        ("prices.cpu-reserved", Resource::CpuReserved, &prices.cpu_reserved),
        ("prices.memory", Resource::Memory, &prices.memory),
        ("prices.storage", Resource::Storage, &prices.storage),
        ("prices.ingress", Resource::Ingress, &prices.ingress),
        ("prices.egress", Resource::Egress, &prices.egress),
    ];
    let mut tariff = Tariff::default();
    for (key, resource, price) in all {
        let price = price.as_ref().map_or(Ok(Price(0)), |Text(price)| {
            Tariff::parse_price(resource, price.as_str(), file.chain.token_decimals)
        });
        tariff.0[resource as usize] = price.map_err(|problem| money(path, key, problem))?;
    }
    Ok(tariff)
}

fn coin_worth(path: &Path, file: &File) -> Result<Amount, SettingsError> {
    let read = |Text(worth): &Text<Decimal>| Amount::parse(worth.as_str(), file.chain.token_decimals);
    let worth = file.claims.coin_worth.as_ref().map_or(Ok(Amount::ZERO), read);
    worth.map_err(|problem| money(path, "claims.coin-worth", problem))
}

fn money(path: &Path, key: &'static str, problem: ParseAmountError) -> SettingsError {
    SettingsError::Money { path: path.into(), key, problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Init;

    /// What is said of the default configuration with one line of it replaced.
    fn loaded(line: &str, with: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("apocryphd.toml");
        let known = Init { chain_id: Some(31337), payment: None, registry: None, token: None };
        let text = template(&known, &["http://127.0.0.1:8545".parse().unwrap()]);
        assert!(text.contains(line), "{line}");
        std::fs::write(&config, text.replacen(line, with, 1)).unwrap();
        let overrides = Overrides { config: Some(config), ..Overrides::default() };
        let hide = |error: SettingsError| error.to_string().replace(folder.path().to_str().unwrap(), "");
        Settings::load(overrides).map_err(hide)
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_stands_with_what_is_allowed() {
        let wrong = |line, with| loaded(line, with).unwrap_err();
        insta::assert_snapshot!("unknown_key", wrong("least-runway", "shortest-runway"));
        insta::assert_snapshot!("unknown_table", wrong("[metering]", "[meter]"));
        insta::assert_snapshot!("duration", wrong("grace = \"10m\"", "grace = \"10 minutes\""));
        insta::assert_snapshot!("address", wrong("gateway = \"0.0.0.0:8080\"", "gateway = \"8080\""));
        insta::assert_snapshot!("size", wrong("pod-size = \"10Gi\"", "pod-size = \"10GB\""));
        insta::assert_snapshot!("price", wrong("cpu-used = \"0\"", "cpu-used = \"-1\""));
        insta::assert_snapshot!("engine", wrong("name = \"apocryph\"", "name = \"My Engine\""));
        insta::assert_snapshot!("log_format", wrong("format = \"text\"", "format = \"xml\""));
    }

    #[test]
    fn what_contradicts_is_refused() {
        let tls = loaded("# gateway-tls", "gateway-tls").unwrap_err();
        assert!(tls.contains("go together"), "{tls}");
        let open = loaded("registry = \"127.0.0.1:0\"", "registry = \"0.0.0.0:5000\"").unwrap_err();
        assert!(open.contains("loopback"), "{open}");
        let precise = loaded("cpu-used = \"0\"", "cpu-used = \"0.0000000000000000000000000000000000001\"");
        assert!(precise.unwrap_err().contains("prices.cpu-used: the token has"));
        let cluster = loaded("kind = \"embedded\"", "kind = \"cluster\"").unwrap_err();
        assert!(cluster.contains("`embedded` or `kubernetes`"), "{cluster}");
        let rpc = loaded("rpc = [\"http://127.0.0.1:8545/\"]", "rpc = []").unwrap_err();
        assert!(rpc.contains("--rpc"), "{rpc}");
        let nobody = loaded("here = true", "here = false").unwrap_err();
        assert!(nobody.contains("listen.gateways"), "{nobody}");
        let open = loaded("# gateways =", "gateways =").unwrap_err();
        assert!(open.contains("gateway.token-file go together"), "{open}");
        let readers = loaded("# node-readers =", "node-readers =").unwrap_err();
        assert!(readers.contains("reader-token-file go together"), "{readers}");
    }

    #[test]
    fn publishers_are_told_an_address_that_can_be_dialled() {
        let settings = loaded("p2p = \"0.0.0.0:4001\"", "p2p = \"192.0.2.1:4001\"").unwrap();
        assert_eq!(settings.p2p_external(), ["/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1"]);
        assert_eq!(settings.public_gateway(), (([127, 0, 0, 1], 8080).into(), false));
        assert!(loaded("name", "name").unwrap().p2p_external().is_empty());
    }
}
