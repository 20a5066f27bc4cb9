//! A web server that costs nothing while nobody asks.

use std::time::{Duration, Instant};

use apocryph_testbed::clients::http_get;
use apocryph_testbed::containers;

use crate::failure::{During, Result};
use crate::record::Record;
use crate::stage::{MARKER, Stage};
use crate::{print, secrecy};

const POD: &str = "web";
const REQUESTS: usize = 10;

pub(crate) async fn act(record: &mut Record, stage: &mut Stage) -> Result<()> {
    print::chapter("A web server: bought, encrypted, shipped");
    select(record, stage).await?;
    secrecy::of_images(record, stage)?;
    secrecy::of_disk(record, stage, "while the pod is at zero")?;
    print::chapter("Woken by a request, and back to zero");
    serve(record, stage).await
}

async fn select(record: &mut Record, stage: &mut Stage) -> Result<()> {
    let said = stage.deploy(record, POD, &["--fund", "50"]).await?;
    let (chosen, dead) = (stage.chosen(), stage.dead());
    record.check("the cheapest provider that answers is chosen", &chosen.name, said.text("/providerName")?);
    let passed: Vec<_> = said.events("passedOver").filter_map(|event| event["name"].as_str()).collect();
    record.check("the dead provider is passed over and named", &dead.name, passed.join(", "));
    Ok(())
}

/// The first request, nine more, and the quiet after them.
async fn serve(record: &mut Record, stage: &mut Stage) -> Result<()> {
    let (gateway, host) = stage.http_endpoint(POD).await?;
    record.check("nothing of the pod runs before the first request", 0, stage.containers(POD)?.len());

    let start = Instant::now();
    let first = http_get(gateway, &host, "/").await.during("the first request")?;
    let took = start.elapsed();
    waking(record, stage, start, took)?;
    let answer = format!("{} with {} bytes from {host}", first.status, first.body.len());
    record.timed_step("serve", "gateway", start, took, answer);
    record.check("the first request is answered with 200 from zero replicas", 200, first.status);
    record.judge(
        "the answer is the page",
        first.body.contains(MARKER),
        MARKER,
        "the page as it was deployed",
    );

    let started = stage.containers(POD)?;
    for _ in 1..REQUESTS {
        let answer = http_get(gateway, &host, "/").await.during("a further request")?;
        record.require("every further request is answered with 200", 200, answer.status);
    }
    record.check(
        "the tenth request is answered without a start",
        ids(&started),
        ids(&stage.containers(POD)?),
    );
    secrecy::of_disk(record, stage, "while the pod runs")?;

    let start = Instant::now();
    stage.until_gone(POD).await?;
    record.step("idle", "gateway", start, "no process of the pod is left");
    record.check("after the idle period no process is left", 0, stage.containers(POD)?.len());
    Ok(())
}

/// From the request until the first process of the pod began, and from there until the answer.
fn waking(record: &mut Record, stage: &Stage, start: Instant, took: Duration) -> Result<()> {
    let processes = stage.containers(POD)?;
    let ages = processes.iter().filter_map(|(id, command)| Some((containers::age(*id).ok()?, id, command)));
    if let Some((age, id, command)) = ages.max() {
        let began = Instant::now().checked_sub(age).unwrap_or(start);
        let waking = began.saturating_duration_since(start).min(took);
        record.timed_step("wake", "gateway", start, waking, format!("the request for {POD} is held"));
        record.timed_step("run", "engine", start + waking, took - waking, format!("process {id}: {command}"));
    }
    Ok(())
}

fn ids(processes: &[(u32, String)]) -> String {
    let ids: Vec<_> = processes.iter().map(|(id, _)| id.to_string()).collect();
    format!("processes {}", ids.join(" "))
}
