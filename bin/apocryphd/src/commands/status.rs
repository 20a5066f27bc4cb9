//! `status`: pods, money and last claims, of the running daemon or else of its ledger.

use crate::{
    daemon::ask_overview, durations::ago, failure::Failure, keys, printer::Printer, settings::Settings,
    world::SystemClock,
};
use apocryph_ledger::{Ledger, PodState};
use apocryph_model::{Amount, Endpoint};
use apocryph_provider::{Clock as _, Overview, PodOverview};
use serde::Serialize;
use std::fmt;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    running: bool,
    #[serde(flatten)]
    overview: Overview,
    #[serde(skip)]
    decimals: u8,
    #[serde(skip)]
    now_ms: u64,
}

pub(crate) async fn status(settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let asked = ask_overview(&settings.admin_socket()).await?;
    let running = asked.is_some();
    let overview = match asked {
        Some(overview) => overview,
        None => from_ledger(settings)?,
    };
    let decimals = settings.file.chain.token_decimals;
    printer.result(&Status { running, overview, decimals, now_ms: SystemClock.now_ms() })
}

fn from_ledger(settings: &Settings) -> Result<Overview, Failure> {
    let account = keys::account(settings)?.address();
    let path = settings.data("ledger.db");
    let failure = |problem| Failure::Ledger { path: path.clone(), problem };
    if !path.exists() {
        return Err(Failure::NoLedger(path));
    }
    let ledger = Ledger::open(&path).map_err(failure)?;
    Overview::of_ledger(&ledger, account, settings.file.chain.token).map_err(failure)
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overview { provider, pods, chain_answers, waits_for, .. } = &self.overview;
        writeln!(f, "provider  {provider}")?;
        match (self.running, waits_for) {
            (false, _) => writeln!(f, "daemon    does not run; this is what its ledger says")?,
            (true, None) => writeln!(f, "daemon    runs")?,
            (true, Some(cause)) => {
                writeln!(
                    f,
                    "daemon    starts, and pods are as they were: {cause}; this is what its ledger says"
                )?;
            }
        }
        if self.running && waits_for.is_none() && !chain_answers {
            writeln!(f, "chain     does not answer: nothing is ended for that, and nothing claimed")?;
        }
        writeln!(f, "pods      {}", pods.len())?;
        pods.iter().try_for_each(|pod| self.pod(f, pod))
    }
}

impl Status {
    fn pod(&self, f: &mut fmt::Formatter<'_>, pod: &PodOverview) -> fmt::Result {
        let money = |amount: Amount| amount.display(self.decimals);
        writeln!(f, "\n{}  {}", pod.channel, state(pod))?;
        writeln!(f, "  publisher   {}", pod.publisher)?;
        for endpoint in &pod.endpoints {
            writeln!(f, "  reached at  {}", place(endpoint))?;
        }
        write!(f, "  owed        {}", money(pod.owed))?;
        if let (Some(claimed), Some(deposited)) = (pod.claimed, pod.deposited) {
            write!(f, ", claimed {} of the {} deposited", money(claimed), money(deposited))?;
        }
        writeln!(f)?;
        if let Some(claim) = &pod.last_claim {
            let when = ago(claim.time_ms, self.now_ms);
            writeln!(f, "  last claim  {} {when}, {}", money(claim.paid), claim.transaction)?;
        }
        match &pod.last_error {
            Some(fault) => writeln!(f, "  last error  {fault}"),
            None => Ok(()),
        }
    }
}

fn state(pod: &PodOverview) -> String {
    match &pod.state {
        PodState::Live => match pod.replicas {
            None => "lives".into(),
            Some(0) => "at zero".into(),
            Some(replicas) => format!("{replicas} running"),
        },
        PodState::OutOfFunds { .. } => "out of funds".into(),
        PodState::Evicted(reason) => format!("evicted: {reason}"),
        PodState::Removed => "removed".into(),
    }
}

fn place(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Http { host, gateway, tls, .. } => {
            format!("{}://{host} at {gateway}", if *tls { "https" } else { "http" })
        }
        Endpoint::Tcp { address, .. } => format!("tcp://{address}"),
    }
}
