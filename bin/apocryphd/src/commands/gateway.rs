//! `gateway`: a gateway as a process of its own.

use super::{
    block_on,
    check::{Looked, certificate, fatal, port, report, token},
    init::write_new,
};
use crate::{
    args::{Gateway, Overrides},
    daemon,
    failure::Failure,
    gateway::{self, GatewaySettings, TEMPLATE, default_config},
    keys,
    printer::Printer,
};
use apocryph_link::{Link, Role};
use serde::Serialize;
use std::{fmt, net::TcpListener, path::PathBuf};

/// Does what the command line says.
pub(super) fn run(command: &Gateway, overrides: Overrides, printer: &Printer) -> Result<(), Failure> {
    match command {
        Gateway::Init => init(overrides, printer),
        Gateway::Check => block_on(check(&GatewaySettings::load(overrides)?, printer)),
        Gateway::Run => {
            let settings = GatewaySettings::load(overrides)?;
            daemon::log_to_stderr(&settings.file.log);
            block_on(gateway::run(&settings))
        }
    }
}

#[derive(Serialize)]
struct Ready {
    config: PathBuf,
    made: bool,
}

fn init(overrides: Overrides, printer: &Printer) -> Result<(), Failure> {
    let config = overrides.config.unwrap_or_else(default_config);
    let made = !config.exists();
    if made {
        write_new(&config, TEMPLATE)?;
    }
    printer.result(&Ready { config, made })
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.config.display();
        if self.made {
            writeln!(f, "wrote    {path}")?;
        }
        writeln!(
            f,
            "next     set daemon and token-file in {path}; apocryphd gateway check; apocryphd gateway run"
        )
    }
}

async fn check(settings: &GatewaySettings, printer: &Printer) -> Result<(), Failure> {
    let mut looked = ports(settings);
    looked.extend(certificate(settings.tls.as_ref()));
    looked.push(token(&settings.file.token_file, Role::Gateway));
    if let Ok(token) = keys::link_token(&settings.file.token_file, Role::Gateway) {
        let probed = Link::probe(&settings.link(token)).await;
        let remedy = "is it running, with listen.gateways and the same token? Else set daemon";
        let lack = |problem| fatal(format!("the daemon: {problem}"), remedy);
        looked.push(probed.map(|_| format!("the daemon answers at {}", settings.file.daemon)).map_err(lack));
    }
    report(looked, printer)
}

fn ports(settings: &GatewaySettings) -> Vec<Looked> {
    let listen = &settings.file.listen;
    let tls = settings.tls.as_ref().map(|tls| ("listen.gateway-tls", tls.listen));
    let all = [("listen.gateway", listen.gateway.0), ("listen.health", listen.health.0)];
    let tried = |(setting, address)| port(setting, address, TcpListener::bind(address).err());
    all.into_iter().chain(tls).map(tried).collect()
}
