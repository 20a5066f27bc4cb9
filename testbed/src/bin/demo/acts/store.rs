//! redis over TCP, with a persistent volume.

use std::time::Instant;

use apocryph_testbed::clients::redis;

use crate::failure::{During, Result};
use crate::print;
use crate::record::Record;
use crate::stage::Stage;

const POD: &str = "store";

pub(crate) async fn act(record: &mut Record, stage: &mut Stage) -> Result<()> {
    print::chapter("redis: TCP, and a volume that outlives its process");
    stage.deploy(record, POD, &["--fund", "50"]).await?;
    let server = stage.tcp_endpoint(POD).await?;
    let start = Instant::now();
    redis(server, "SET kept yes").await.during("SET")?;
    record.step("wake", "gateway", start, format!("SET over tcp {server} answered from zero"));
    let start = Instant::now();
    stage.until_gone(POD).await?;
    record.step("idle", "gateway", start, "no connection, no process");
    let found = redis(server, "GET kept").await.during("GET")?;
    record.check("redis keeps a key over a scale-to-zero", "yes", found);
    Ok(())
}
