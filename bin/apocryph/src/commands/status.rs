use super::view::endpoint;
use crate::{
    args::Pod, durations::display_seconds, failure::Failure, printer::Printer, settings::Settings, world,
};
use apocryph_model::{Address, ChannelId, Endpoint, Fault, Name, PodPhase};
use apocryph_publisher::{Money, Status};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;
use std::fmt;

pub(super) async fn run(args: Pod, settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let publisher = world::publisher(settings, printer).await?;
    let status = publisher.status(&args.name).await?;
    printer.result("status", &View::of(&status))
}

pub(super) async fn list(settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let publisher = world::publisher(settings, printer).await?;
    let all = publisher.list().await?;
    printer.result("ls", &Views(all.iter().map(View::of).collect()))
}

/// One pod, as both sides tell it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    name: Name,
    provider: Address,
    provider_name: String,
    unattested: bool,
    /// `None` where the provider does not say.
    phase: Option<PodPhase>,
    replicas: Option<u32>,
    endpoints: Vec<Endpoint>,
    channel: ChannelId,
    money: Funds,
    /// What went wrong last, by the provider.
    last_error: Option<Fault>,
    /// Why the provider says nothing.
    provider_problem: Option<String>,
}

/// What the chain says of the channel.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "state")]
enum Funds {
    Open { left: Money, lasts: Option<u64> },
    Unlocking { left: Money, seconds: Option<u64> },
    Closed,
    Unknown { problem: String },
}

impl Funds {
    fn of(status: &Status) -> Self {
        let (channel, token) = match (&status.channel, &status.token) {
            (Ok(Some(channel)), Ok(token)) => (channel, token),
            (Ok(None), _) => return Self::Closed,
            (Err(problem), _) | (_, Err(problem)) => return Self::Unknown { problem: problem.to_string() },
        };
        let left = token.money(status.left().unwrap_or_default());
        match channel.unlock_at {
            Some(at) => {
                let seconds = status.now.as_ref().ok().map(|now| at.saturating_sub(*now));
                Self::Unlocking { left, seconds }
            }
            None => Self::Open { left, lasts: status.lasts() },
        }
    }
}

impl Funds {
    /// How much is left, for a table.
    fn left(&self) -> String {
        match self {
            Self::Open { left, .. } | Self::Unlocking { left, .. } => format!("{left:.6}"),
            Self::Closed => "none".into(),
            Self::Unknown { .. } => "?".into(),
        }
    }

    /// Why the chain says nothing.
    fn problem(&self) -> Option<&String> {
        match self {
            Self::Unknown { problem } => Some(problem),
            _ => None,
        }
    }

    /// For how long, or until when it is locked, for a table.
    fn time(&self) -> String {
        match self {
            Self::Open { lasts: Some(lasts), .. } => display_seconds(*lasts),
            Self::Unlocking { seconds: Some(0), .. } => "unlocked".into(),
            Self::Unlocking { seconds: Some(seconds), .. } => {
                format!("locked for {}", display_seconds(*seconds))
            }
            Self::Unlocking { seconds: None, .. } => "locked".into(),
            Self::Open { lasts: None, .. } => "for ever".into(),
            Self::Closed => String::new(),
            Self::Unknown { .. } => "?".into(),
        }
    }
}

impl fmt::Display for Funds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { left, lasts: Some(lasts) } => {
                write!(f, "{left:.6} left, at least {}", display_seconds(*lasts))
            }
            Self::Open { left, lasts: None } => write!(f, "{left:.6} left"),
            Self::Unlocking { left, seconds: Some(0) } => write!(f, "{left:.6} can be withdrawn"),
            Self::Unlocking { left, seconds: Some(seconds) } => {
                write!(f, "{left:.6} locked for another {}", display_seconds(*seconds))
            }
            Self::Unlocking { left, seconds: None } => write!(f, "{left:.6} being unlocked"),
            Self::Closed => f.write_str("no channel is open"),
            Self::Unknown { problem } => write!(f, "unknown: {problem}"),
        }
    }
}

impl View {
    fn of(status: &Status) -> Self {
        let deployment = &status.deployment;
        let pod = status.pod.as_ref().ok();
        Self {
            name: deployment.name.clone(),
            provider: deployment.provider,
            provider_name: deployment.provider_name.clone(),
            unattested: deployment.unattested,
            phase: pod.map(|pod| pod.phase),
            replicas: pod.map(|pod| pod.replicas),
            endpoints: pod.map_or_else(|| deployment.endpoints.clone(), |pod| pod.endpoints.clone()),
            channel: deployment.channel(),
            money: Funds::of(status),
            last_error: pod.and_then(|pod| pod.last_error.clone()),
            provider_problem: status.pod.as_ref().err().map(ToString::to_string),
        }
    }

    fn phase(&self) -> &'static str {
        match self.phase {
            Some(PodPhase::Provisioning) => "provisioning",
            Some(PodPhase::Idle) => "idle",
            Some(PodPhase::Running) => "running",
            Some(PodPhase::Evicted) => "evicted",
            Some(PodPhase::Removed) => "removed",
            Some(PodPhase::Ending) => "ending",
            None => "unknown",
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replicas = match self.replicas {
            None => String::new(),
            Some(1) => ", 1 replica".into(),
            Some(n) => format!(", {n} replicas"),
        };
        writeln!(f, "{}: {}{replicas}", self.name, self.phase())?;
        let attested = if self.unattested { ", unattested" } else { "" };
        writeln!(f, "  provider    {} ({}){attested}", self.provider_name, self.provider)?;
        if let Some(problem) = &self.provider_problem {
            writeln!(f, "  silent      {problem}")?;
        }
        for reached in &self.endpoints {
            writeln!(f, "  reached at  {}", endpoint(reached))?;
        }
        writeln!(f, "  money       {}", self.money)?;
        write!(f, "  channel     {}", self.channel)?;
        if let Some(error) = &self.last_error {
            write!(f, "\n  last error  {error} (fault: {}, {})", error.who, error.code)?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Views(Vec<View>);

impl Views {
    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["NAME", "STATE", "REPLICAS", "PROVIDER", "MONEY LEFT", "LASTS", "REACHED AT"]);
        for view in &self.0 {
            let reached: Vec<_> = view.endpoints.iter().map(endpoint).collect();
            table.add_row([
                view.name.to_string(),
                view.phase().to_string(),
                view.replicas.map_or_else(|| "?".into(), |n| n.to_string()),
                view.provider_name.clone(),
                view.money.left(),
                view.money.time(),
                reached.join("\n"),
            ]);
        }
        table
    }
}

/// A table of the pods, then why provider or chain say nothing of some.
impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no pods: `apocryph deploy` makes one");
        }
        write!(f, "{}", self.table().trim_fmt())?;
        for view in &self.0 {
            for problem in view.provider_problem.iter().chain(view.money.problem()) {
                write!(f, "\n{}: {problem}", view.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::Amount;

    fn view(name: &str, phase: Option<PodPhase>, money: Funds, problem: Option<&str>) -> View {
        View {
            name: name.parse().unwrap(),
            provider: Address([0x11; 20]),
            provider_name: "lowlands".into(),
            unattested: true,
            phase,
            replicas: phase.map(|_| 1),
            endpoints: vec![],
            channel: ChannelId([0x22; 32]),
            money,
            last_error: None,
            provider_problem: problem.map(Into::into),
        }
    }

    #[test]
    fn what_is_unknown_has_its_reason_below_the_table() {
        let left = Money { amount: Amount(4_200_000), decimals: 6, symbol: "USDC".into() };
        let open = Funds::Open { left, lasts: Some(7200) };
        let unknown = Funds::Unknown { problem: "the endpoint does not answer".into() };
        let listed = [
            view("web", Some(PodPhase::Running), open, None),
            view("db", None, unknown, Some("the connection to the provider broke")),
        ];
        insta::assert_snapshot!(Views(listed.into()).to_string());
    }
}
