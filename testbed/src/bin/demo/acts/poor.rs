//! A pod whose money runs out.

use std::time::Instant;

use apocryph_model::Amount;

use crate::failure::{During, Result};
use crate::print;
use crate::record::Record;
use crate::stage::Stage;

const POD: &str = "poor";
/// For how long it can pay; more than the provider insists on.
const SECONDS: u128 = 6;
/// Of the dev chain's token.
const DECIMALS: u8 = 18;

pub(crate) async fn act(record: &mut Record, stage: &mut Stage) -> Result<()> {
    print::chapter("A pod out of funds");
    let fund = barely_enough(stage).await?;
    stage.deploy(record, POD, &["--fund", &fund]).await?;
    let start = Instant::now();
    let said = stage.until_phase(POD, "evicted").await?;
    record.step("evict", "provider", start, said.text("/lastError/text")?);
    record.check("a pod out of funds is evicted and says so", "out-of-funds", said.text("/lastError/code")?);
    record.check("nothing of it runs any more", 0, stage.containers(POD)?.len());
    Ok(())
}

/// What the pod costs at most in a few seconds, by the command line's own estimate.
async fn barely_enough(stage: &Stage) -> Result<String> {
    let said = stage.ask(&["deploy", "--file", "poor.yaml", "--accept-unattested", "--dry-run"]).await?;
    let hourly: u128 =
        said.text("/cost/fullPerHour/units")?.parse().map_err(std::io::Error::other).during("the cost")?;
    Ok(Amount(hourly * SECONDS / 3600).display(DECIMALS))
}
