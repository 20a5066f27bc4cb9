use crate::{args::LogFormat, settings::file::Log};
use std::io::{self, IsTerminal as _};
use tracing_subscriber::{EnvFilter, fmt};

/// This program's own crates, which log at the configured level.
const OWN: [&str; 10] = [
    "apocryphd",
    "apocryph_provider",
    "apocryph_gateway",
    "apocryph_link",
    "apocryph_embedded",
    "apocryph_kubernetes",
    "apocryph_p2p",
    "apocryph_evm",
    "apocryph_oci",
    "apocryph_pod_cgroups",
];

/// Sends the log to the standard error: text or JSON, by the settings; `APOCRYPHD_LOG` or
/// `RUST_LOG` go before them.
pub(crate) fn log_to_stderr(log: &Log) {
    let from_variable = |name| EnvFilter::try_from_env(name).ok();
    let filter = from_variable("APOCRYPHD_LOG").or_else(|| from_variable("RUST_LOG"));
    let filter = filter.unwrap_or_else(|| EnvFilter::new(default_filter(log.level.0)));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    // One subscriber is set per process, here.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// What libraries say counts from warnings on, but not that the kernel knows more of a link than
/// the netlink library does: it says so at every look. Nor what the library for clusters says of each request
/// that fails: whoever asked tells more of it.
fn default_filter(level: tracing::Level) -> String {
    let own = OWN.map(|own| format!("{own}={level}")).join(",");
    format!("warn,netlink_packet_route=error,kube_client::client=off,{own}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_is_one() {
        for level in [tracing::Level::ERROR, tracing::Level::TRACE] {
            assert!(default_filter(level).parse::<EnvFilter>().is_ok());
        }
    }
}
