//! Two containers of one pod; and what they used.

use std::time::{Duration, Instant};

use apocryph_testbed::clients::http_get;
use apocryph_testbed::until::until;

use crate::failure::{During, Result};
use crate::print;
use crate::record::Record;
use crate::stage::{BEHIND, Stage};

const POD: &str = "pair";
const WORK: usize = 3;

pub(crate) async fn act(record: &mut Record, stage: &mut Stage) -> Result<()> {
    print::chapter("Two containers that talk over localhost, and what they used");
    stage.deploy(record, POD, &["--fund", "50"]).await?;
    let (gateway, host) = stage.http_endpoint(POD).await?;
    let answer = http_get(gateway, &host, "/cgi-bin/ask").await.during("asking the front")?;
    record.check("the front answers by what the back says", BEHIND, answer.body.trim());
    for _ in 0..WORK {
        http_get(gateway, &host, "/cgi-bin/work").await.during("making the front work")?;
    }
    billed(record, stage).await
}

/// The ledger catches up with the kernel's counter, which rests now.
async fn billed(record: &mut Record, stage: &mut Stage) -> Result<()> {
    let start = Instant::now();
    let counted = stage.counted_cpu(POD)?;
    let mut billed = 0;
    let caught_up = async || {
        billed = stage.billed_cpu(POD).await.map_err(std::io::Error::other)?;
        Ok(within_a_hundredth(billed, counted))
    };
    let held = until("the ledger has caught up", Duration::from_secs(20), caught_up).await;
    record.step("meter", "provider", start, format!("{billed} core-microseconds in the ledger"));
    record.judge(
        "the CPU-seconds billed are within 1 % of the cgroup's own counter",
        held.is_ok(),
        format!("{counted} µs, give or take 1 %"),
        format!("{billed} µs"),
    );
    Ok(())
}

fn within_a_hundredth(billed: u64, counted: u64) -> bool {
    counted > 0 && billed.abs_diff(counted) <= counted / 100
}

#[cfg(test)]
mod tests {
    use super::within_a_hundredth;

    #[test]
    fn a_hundredth_is_the_most() {
        assert!(within_a_hundredth(1010, 1000) && within_a_hundredth(990, 1000));
        assert!(!within_a_hundredth(1011, 1000) && !within_a_hundredth(989, 1000));
        assert!(!within_a_hundredth(0, 0));
    }
}
