//! What happens, in its order.

pub(crate) mod end;
mod pair;
mod poor;
mod store;
mod web;

use crate::failure::Result;
use crate::record::Record;
use crate::stage::Stage;

/// Everything but the end.
pub(crate) async fn all(record: &mut Record, stage: &mut Stage) -> Result<()> {
    web::act(record, stage).await?;
    store::act(record, stage).await?;
    pair::act(record, stage).await?;
    poor::act(record, stage).await
}
