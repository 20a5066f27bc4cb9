use crate::{args::LogFormat, settings::Settings};
use std::io;
use tracing_subscriber::{EnvFilter, fmt};

/// Sends the log to the standard error: text or JSON, by the settings; `APOCRYPHD_LOG` or
/// `RUST_LOG` go before them. What libraries say counts from warnings on.
pub(crate) fn log_to_stderr(settings: &Settings) {
    let log = &settings.file.log;
    let level = log.level.0;
    let default = format!(
        "warn,apocryphd={level},apocryph_provider={level},apocryph_gateway={level},apocryph_embedded={level},apocryph_p2p={level},apocryph_evm={level},apocryph_oci={level}"
    );
    let from_variable = |name| EnvFilter::try_from_env(name).ok();
    let filter = from_variable("APOCRYPHD_LOG").or_else(|| from_variable("RUST_LOG"));
    let filter = filter.unwrap_or_else(|| EnvFilter::new(default));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(true);
    // One subscriber is set per process, here.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
