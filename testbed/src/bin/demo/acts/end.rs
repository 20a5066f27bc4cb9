//! Everything is ended, paid and given back; nothing is left.

use std::time::{Duration, Instant};

use apocryph_testbed::until::until;

use crate::failure::{During, Result};
use crate::record::Record;
use crate::stage::{PODS, Stage};
use crate::{print, secrecy};

pub(crate) async fn act(record: &mut Record, mut stage: Stage) -> Result<()> {
    print::chapter("The end: claims, and the rest comes back");
    for pod in PODS {
        settle(record, &mut stage, pod).await?;
    }
    for pod in PODS {
        withdraw(record, &mut stage, pod).await?;
    }
    money(record, &stage).await?;
    secrecy::of_disk(record, &stage, "when all is over")?;
    nothing_left(record, stage).await
}

/// The provider claims what is owed, ends the pod, and the unlock begins.
async fn settle(record: &mut Record, stage: &mut Stage, pod: &str) -> Result<()> {
    let start = Instant::now();
    print::note(&format!("apocryph remove {pod}"));
    stage.run(record, &["remove", pod]).await?;
    let said = stage.run(record, &["usage", pod]).await?;
    let claims = said.part("/claims")?.as_array().cloned().unwrap_or_default();
    if let Some(last) = claims.last() {
        record.step(
            "claim",
            "provider",
            start,
            format!("{pod}: transaction {}", last["transaction"].as_str().unwrap_or_default()),
        );
    }
    record.check(
        &format!("{pod}: every claim is what the publisher recomputes from the ledger"),
        true,
        said.part("/agrees")?,
    );
    let channel = stage.channel(pod).await?;
    let paid = stage
        .market
        .flows()
        .await
        .during("reading the contract's events")?
        .get(&channel)
        .map_or(0, |flow| flow.claimed);
    record.check(
        &format!("{pod}: the contract paid what the publisher recomputes"),
        said.text("/paid/units")?,
        paid,
    );
    Ok(())
}

async fn withdraw(record: &mut Record, stage: &mut Stage, pod: &str) -> Result<()> {
    let unlocked = async || stage.is_unlocked(pod).await.map_err(std::io::Error::other);
    until("the unlock delay has passed", Duration::from_secs(60), unlocked).await.during(pod)?;
    stage.run(record, &["withdraw", pod]).await?;
    Ok(())
}

/// To the unit, by the contract's events and the token's balances.
async fn money(record: &mut Record, stage: &Stage) -> Result<()> {
    let flows = stage.market.flows().await.during("reading the contract's events")?;
    record.check("there was a channel for every pod", PODS.len(), flows.len());
    for (channel, flow) in &flows {
        let expected = format!("{} in", flow.deposited);
        let found = format!("{} claimed + {} given back", flow.claimed, flow.refunded);
        record.judge(
            &format!("channel {}: what came in went out", channel.short()),
            flow.is_settled(),
            expected,
            found,
        );
    }
    let held = stage.market.deposits().await.during("reading a balance")?;
    record.check("the Payment contract holds nothing", 0, held);
    Ok(())
}

async fn nothing_left(record: &mut Record, mut stage: Stage) -> Result<()> {
    let left = stage.market.close().await?;
    record.check("no container, mount, interface, cgroup or process is left", "nothing", &left);
    Ok(())
}
