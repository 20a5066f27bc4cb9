use crate::{
    args::{Deploy, Strategy},
    chooser::Terminal,
    commands::view::{Cost, endpoint},
    durations::display_seconds,
    failure::Failure,
    printer::Printer,
    settings::Settings,
    world,
};
use apocryph_model::{Address, Blob, ChannelId, Endpoint, Name, PeerAddress, ProvisionRequest};
use apocryph_publisher::{BroughtHost, Budget, Deployed, Money, Order, Payment, Plan, Preferences, Seen};
use serde::Serialize;
use std::{
    fmt,
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    path::Path,
    sync::Arc,
};

pub(super) async fn run(args: Deploy, settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let order = order(&args, printer)?;
    let publisher = world::publisher_at(args.resolver, settings, printer).await?;
    if args.dry_run {
        let plan = publisher.plan(&order).await?;
        return printer.result("deploy", &Planned::of(&plan, args.accept_unattested));
    }
    let deployed = publisher.deploy(&order).await?;
    printer.result("deploy", &Summary::of(&deployed))
}

fn order(args: &Deploy, printer: &Printer) -> Result<Order, Failure> {
    let bytes =
        read(&args.file).map_err(|problem| Failure::NoManifest { path: args.file.clone(), problem })?;
    let manifest = apocryph_manifest::parse(&bytes, &args.file.display().to_string())?;
    let chooser = match args.strategy {
        Strategy::Cheapest => None,
        Strategy::Ask if !io::stdin().is_terminal() => return Err(Failure::NoTerminal),
        Strategy::Ask => Some(Arc::new(Terminal(printer.clone())) as _),
    };
    Ok(Order {
        manifest,
        folder: args.file.parent().unwrap_or(Path::new(".")).into(),
        preferences: Preferences {
            provider: args.provider,
            token: args.token,
            accept_unattested: args.accept_unattested,
            chooser,
        },
        fund: args.fund.clone(),
        public: args.public,
        sources: sources(&args.source)?,
    })
}

fn sources(named: &[PeerAddress]) -> Result<Vec<PeerAddress>, Failure> {
    match named.len() {
        0..=ProvisionRequest::MAX_SOURCES => Ok(named.to_vec()),
        many => Err(Failure::TooManySources(many)),
    }
}

/// One byte beyond the bound is enough to see that there is more.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(apocryph_manifest::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What was deployed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    name: &'a Name,
    provider: Address,
    provider_name: &'a str,
    unattested: bool,
    channel: ChannelId,
    balance: Money,
    /// Seconds at the full rate.
    lasts: Option<u64>,
    cost: Cost,
    endpoints: &'a [Endpoint],
    /// What everyone may fetch from the provider.
    published: &'a [Blob],
}

impl<'a> Summary<'a> {
    fn of(deployed: &'a Deployed) -> Self {
        let channel = &deployed.channel;
        Self {
            name: &deployed.name,
            provider: deployed.provider,
            provider_name: &deployed.provider_name,
            unattested: deployed.unattested,
            channel: channel.id(),
            balance: deployed.token.money(channel.balance()),
            lasts: channel.max_rate.lasts(channel.balance()),
            cost: Cost::of(&deployed.estimate, &deployed.token),
            endpoints: &deployed.endpoints,
            published: &deployed.published,
        }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs at {} ({})", self.name, self.provider_name, self.provider)?;
        if self.unattested {
            writeln!(f, "  unattested  {UNATTESTED}")?;
        }
        for reached in self.endpoints {
            writeln!(f, "  reached at  {}", endpoint(reached))?;
        }
        for Blob { cid, size, .. } in self.published {
            writeln!(f, "  published   {cid} ({size} bytes)")?;
        }
        writeln!(f, "  costs       {}", self.cost)?;
        let lasts = self.lasts.map_or_else(|| "for ever".into(), display_seconds);
        write!(f, "  paid in     {:.6}, at least {lasts} (channel {})", self.balance, self.channel)
    }
}

const UNATTESTED: &str = "its evidence was not verified: whoever operates it could read the pod";

fn display_seen(seen: &Seen) -> String {
    match seen {
        Seen::There => "proved in the DNS".into(),
        Seen::Missing => "NOT PROVED, without which most providers refuse it".into(),
        Seen::Unknown(reason) => format!("not looked up ({reason})"),
    }
}

/// What would be deployed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned<'a> {
    dry_run: bool,
    name: &'a Name,
    provider: Address,
    provider_name: &'a str,
    unattested: bool,
    cost: Cost,
    /// What would be paid in.
    deposit: Money,
    /// What the account holds.
    held: Money,
    /// `None` where a channel is open already.
    budget: Option<&'a Budget>,
    /// The host names that it brings, and the records that prove them.
    hosts: &'a [BroughtHost],
}

impl<'a> Planned<'a> {
    fn of(plan: &'a Plan, unattested: bool) -> Self {
        let budget = match &plan.payment {
            Payment::Open(budget) => Some(budget),
            Payment::Keep(..) => None,
        };
        Self {
            dry_run: true,
            name: &plan.name,
            provider: plan.provider,
            provider_name: &plan.provider_name,
            unattested,
            cost: Cost::of(&plan.estimate, &plan.token),
            deposit: plan.token.money(plan.payment.cost()),
            held: plan.token.money(plan.held),
            budget,
            hosts: &plan.hosts,
        }
    }
}

impl fmt::Display for Planned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} would run at {} ({})", self.name, self.provider_name, self.provider)?;
        if self.unattested {
            writeln!(f, "  unattested  {UNATTESTED}")?;
        }
        for BroughtHost { host, record, text, seen } in self.hosts {
            writeln!(f, "  brings      {host}: {}", display_seen(seen))?;
            writeln!(f, "  proved by   TXT {record} \"{text}\"")?;
        }
        writeln!(f, "  would cost  {}", self.cost)?;
        let enough = if self.held.amount < self.deposit.amount { ": TOO LITTLE" } else { "" };
        let account = format!("the account holds {:.6}{enough}", self.held);
        match self.budget {
            None => write!(f, "  pays in     {:.6} into the channel that is open; {account}", self.deposit),
            Some(budget) => {
                let lasts = budget.lasts.map_or_else(|| "for ever".into(), display_seconds);
                writeln!(f, "  pays in     {:.6}, at least {lasts}; {account}", self.deposit)?;
                let delay = display_seconds(budget.unlock_delay);
                write!(f, "  comes back  what is not used, {delay} after `apocryph unlock`")
            }
        }
    }
}
