//! How far the notifier is behind the end of the log: asked beside the reading, so that the question
//! costs no event any time.

use std::time::Duration;

use syncbell_bus::{Bus, Next, Stream};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::ledger::Ledger;
use crate::metrics::NotifierMetrics;

const EVERY: Duration = Duration::from_secs(5);

/// Sets the gauge until `stop`. While the log does not answer it keeps the last value.
pub(crate) async fn watch(
    bus: Bus,
    ledger: Ledger,
    metrics: NotifierMetrics,
    stop: CancellationToken,
) -> Result<(), Error> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        let measured = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            measured = lag(&bus, &ledger) => measured?,
        };
        if let Some(lag) = measured {
            metrics.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
    }
}

async fn lag(bus: &Bus, ledger: &Ledger) -> Result<Option<u64>, Error> {
    let Ok(bounds) = bus.bounds(Stream::Changes).await else {
        return Ok(None);
    };
    // What was never read counts from where the log starts.
    let mut next: Next = bounds.start;
    let standings = match ledger.standings(Stream::Changes).await {
        Ok(standings) => standings,
        Err(error) if error.retry() == syncbell_store::Retry::Later => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for (partition, standing) in standings {
        next.set(partition, standing.next);
    }
    Ok(Some(next.lag(&bounds.end)))
}
