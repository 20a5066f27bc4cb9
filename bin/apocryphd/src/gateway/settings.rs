//! What the configuration file of a gateway means.

use crate::{
    args::Overrides,
    durations::Span,
    settings::{
        SettingsError, TlsSettings,
        file::{Log, listener, read, seconds, table},
        text::Listener,
    },
};
use apocryph_link::{LinkConfig, Token};
use serde::Deserialize;
use std::path::PathBuf;

/// Every setting with its default, explained.
pub(crate) const TEMPLATE: &str = include_str!("template.toml");

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct GatewayFile {
    pub(crate) daemon: String,
    pub(crate) token_file: PathBuf,
    name: Option<String>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    #[serde(default = "default_drain")]
    pub(crate) drain: Span,
    #[serde(default)]
    pub(crate) listen: Listen,
    #[serde(default)]
    pub(crate) log: Log,
}

fn default_drain() -> Span {
    seconds(10)
}

table! {
    /// Where it listens.
    Listen {
        gateway: Listener = listener([0, 0, 0, 0], 8080),
        gateway_tls: Option<Listener> = None,
        health: Listener = listener([127, 0, 0, 1], 9091),
    }
}

/// Everything that is set.
#[derive(Debug, Clone)]
pub(crate) struct GatewaySettings {
    /// What the configuration file says, with flags and environment before it.
    pub(crate) file: GatewayFile,
    /// The certificate and key.
    pub(crate) tls: Option<TlsSettings>,
}

/// A gateway's configuration file, where no other is named.
pub(crate) fn default_config() -> PathBuf {
    "/etc/apocryph/gateway.toml".into()
}

impl GatewaySettings {
    /// Reads the configuration file and lets flags and environment go before it.
    pub(crate) fn load(overrides: Overrides) -> Result<Self, SettingsError> {
        let path = overrides.config.unwrap_or_else(default_config);
        let mut file: GatewayFile = read(&path)?;
        file.log.format = overrides.log_format.unwrap_or(file.log.format);
        let contradiction =
            |problem: &str| SettingsError::Contradiction { path: path.clone(), problem: problem.into() };
        let port = file.daemon.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            return Err(contradiction(
                "daemon: expected a host name or IP address and a port, such as 192.0.2.1:7300",
            ));
        }
        if file.name.as_ref().is_some_and(|name| name.len() > LinkConfig::LONGEST_NAME) {
            return Err(contradiction("name: expected at most 64 bytes"));
        }
        let tls = TlsSettings::of(&file.listen.gateway_tls, &file.tls_certificate, &file.tls_key);
        let tls = tls.map_err(|_| {
            contradiction("listen.gateway-tls, tls-certificate and tls-key go together: set all or none")
        })?;
        Ok(Self { file, tls })
    }

    /// How it comes to the daemon.
    pub(crate) fn link(&self, token: Token) -> LinkConfig {
        let name = self.file.name.clone().unwrap_or_else(host_name);
        LinkConfig { daemon: self.file.daemon.clone(), token, name, drain: self.file.drain.0 }
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().take(LinkConfig::LONGEST_NAME).collect();
    if name.is_empty() { "gateway".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of the template with one text of it replaced.
    fn loaded(from: &str, to: &str) -> Result<GatewaySettings, String> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("gateway.toml");
        assert!(TEMPLATE.contains(from), "{from}");
        std::fs::write(&config, TEMPLATE.replacen(from, to, 1)).unwrap();
        let overrides = Overrides { config: Some(config), ..Overrides::default() };
        GatewaySettings::load(overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn the_template_says_what_the_defaults_are() {
        let written = loaded("name", "name").unwrap().file;
        let least = "daemon = \"127.0.0.1:7300\"\ntoken-file = \"/etc/apocryph/gateway.token\"\n";
        let defaults: GatewayFile = toml::from_str(least).unwrap();
        assert_eq!(format!("{written:?}"), format!("{defaults:?}"));
        let setting =
            |line: &str| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).map(str::to_owned);
        let all: Vec<_> = TEMPLATE.lines().map(|line| setting(line).unwrap_or_else(|| line.into())).collect();
        toml::from_str::<GatewayFile>(&all.join("\n")).unwrap();
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_allowed() {
        let wrong = |from, to| loaded(from, to).unwrap_err();
        assert!(wrong("127.0.0.1:7300", "localhost").contains("192.0.2.1:7300"));
        assert!(wrong("# tls-key", "tls-key").contains("go together"));
        assert!(wrong("token-file = ", "token = ").contains("unknown field `token`"));
        assert!(
            wrong("# name = \"gateway-1\"", &format!("name = \"{}\"", "x".repeat(65))).contains("64 bytes")
        );
    }
}
