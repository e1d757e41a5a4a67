//! A ping for a dead man's switch outside, while all is seen and everybody can be told.
//!
//! In: what the ledger knows of each instance, because its heartbeat came through the whole path: poller, log, and the
//! decision here; what it knows of receivers that fail. Out: a POST each `every`, or none. Whatever part stops, the
//! pings stop with it.
//!
//! Must never happen: a ping while an instance is blind or was not heard of in time.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_store::Store;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::decide::watch::Watch;
use crate::deliver::Ping;
use crate::metrics::{HeartbeatOutcome, NotifierMetrics};
use crate::render::text;
use crate::rows;
use crate::setup::Setup;
use crate::watchdog::{self, Failing};

/// Instances that are looked at at once; more than anybody configures.
const INSTANCES_LIMIT: usize = 100_000;

/// A ping that is ready to be sent.
pub(crate) struct Heartbeat {
    ping: Ping,
    every: Duration,
}

/// What it is decided by.
pub(crate) struct Pulse {
    pub(crate) store: Store,
    pub(crate) setup: Arc<Setup>,
    pub(crate) metrics: NotifierMetrics,
}

/// Why nothing is to be sent.
#[derive(Debug, PartialEq, Eq)]
struct Unseen {
    why: String,
    /// It is only not heard of: nothing else can be so shortly after a start.
    early_for: Option<SignedDuration>,
}

/// What a turn came to, to log a change of it once.
#[derive(Debug, PartialEq, Eq)]
enum Beat {
    Sent,
    /// Nothing was heard yet, and nothing could be: that is worth no line.
    Early,
    /// Why nothing was sent.
    HeldBack(String),
    /// What went wrong.
    Failed(String),
}

impl Heartbeat {
    /// Prepares the connection; sends nothing.
    pub(crate) fn try_new(heartbeat: &syncbell_config::Heartbeat) -> Result<Self, Error> {
        let ping = Ping::try_new(&heartbeat.url, &heartbeat.http).map_err(|error| {
            let what = format!("heartbeat: {}", text::chain(&error, 200));
            Error::Setup { what }
        })?;
        Ok(Self {
            ping,
            every: heartbeat.every,
        })
    }

    /// Runs until `stop`. An error is a broken ledger.
    pub(crate) async fn run(self, pulse: Pulse, stop: CancellationToken) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (began, mut before) = (Instant::now(), Beat::Early);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let held_back = match pulse.held_back(Timestamp::now()).await {
                Ok(held_back) => held_back,
                Err(error) if error.retry() == syncbell_store::Retry::Later => {
                    Some(Unseen::known(format!("the ledger takes no rows: {error}")))
                }
                Err(error) => return Err(error.into()),
            };
            let beat = if let Some(unseen) = held_back {
                unseen.beat(began.elapsed())
            } else {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    beat = self.beat() => beat,
                }
            };
            pulse.metrics.heartbeat(match beat {
                Beat::Sent => HeartbeatOutcome::Sent,
                Beat::HeldBack(_) | Beat::Early => HeartbeatOutcome::HeldBack,
                Beat::Failed(_) => HeartbeatOutcome::Failed,
            });
            log(&before, &beat);
            before = beat;
        }
    }

    async fn beat(&self) -> Beat {
        match self.ping.send().await {
            Ok(()) => Beat::Sent,
            Err(why) => Beat::Failed(why),
        }
    }
}

/// Once when it begins, once when it is over.
fn log(before: &Beat, now: &Beat) {
    match (before, now) {
        (Beat::Failed(_), Beat::Failed(_))
        | (Beat::HeldBack(_), Beat::HeldBack(_))
        | (Beat::Sent | Beat::Early, Beat::Sent)
        | (_, Beat::Early) => {}
        (_, Beat::Failed(why)) => tracing::error!(why, "the heartbeat does not arrive"),
        (_, Beat::HeldBack(why)) => tracing::warn!(why, "the heartbeat is held back"),
        (_, Beat::Sent) => tracing::info!("the heartbeat is sent again"),
    }
}

impl Unseen {
    fn known(why: String) -> Self {
        Self {
            why,
            early_for: None,
        }
    }

    /// What it comes to, so long after the start.
    fn beat(self, running_for: Duration) -> Beat {
        let running_for = SignedDuration::try_from(running_for).unwrap_or(SignedDuration::MAX);
        match self.early_for {
            Some(early) if running_for < early => Beat::Early,
            _ => Beat::HeldBack(self.why),
        }
    }
}

impl Pulse {
    /// Why no ping is to be sent now, if so.
    async fn held_back(&self, now: Timestamp) -> Result<Option<Unseen>, syncbell_store::Error> {
        let watches = self.store.read(|reader| {
            let mut watches: Vec<Watch> = Vec::new();
            for (key, row) in reader.scan(rows::WATCHES, None, INSTANCES_LIMIT)? {
                if !rows::is_piece(&key) {
                    watches.extend(rows::seen::<Watch>(reader, &key, &row)?);
                }
            }
            Ok(watches)
        });
        let watches = watches.await?;
        let failing = watchdog::failing(&self.store).await?;
        let untold = || untold(&failing, &self.setup).map(Unseen::known);
        Ok(unseen(&watches, &self.setup, now).or_else(untold))
    }
}

/// The first instance that is not seen; what is known to be so before what was only not heard of.
fn unseen(watches: &[Watch], setup: &Setup, now: Timestamp) -> Option<Unseen> {
    let watched = || watches.iter().filter(|watch| watch.dropped_at.is_none());
    let blind = watched().find_map(|watch| {
        let blind = watch.blind.as_ref()?;
        Some(format!("{} is blind: {}", watch.instance, blind.reason))
    });
    let unheard = |instance: &str, why: String| Unseen {
        why,
        early_for: Some(setup.patience(instance)),
    };
    let silent = || {
        watched().find_map(|watch| {
            let instance = watch.instance.as_str();
            let Some(heard) = &watch.heard else {
                let why = format!("{instance} was not heard of yet");
                return Some(unheard(instance, why));
            };
            let due = heard.next_by.saturating_add(setup.patience(instance));
            let why = format!("{instance} was not heard of since {}", heard.seen_until);
            (now > due.unwrap_or(Timestamp::MAX)).then(|| unheard(instance, why))
        })
    };
    let mut named = setup.instances();
    let missing = named.find(|instance| watched().all(|watch| watch.instance != *instance));
    let missing = || missing.map(|id| unheard(id, format!("{id} was not heard of yet")));
    let none = || {
        let why = "no instance is watched yet".to_owned();
        watched().next().is_none().then(|| unheard("", why))
    };
    blind
        .map(Unseen::known)
        .or_else(silent)
        .or_else(missing)
        .or_else(none)
}

/// The first receiver that has failed for long, and of which nobody could be told.
fn untold(failing: &[Failing], setup: &Setup) -> Option<String> {
    let mut long = failing
        .iter()
        .filter(|row| row.told_at.is_some() && row.over_at.is_none());
    let row = long.find(|row| setup.routes.fallbacks(&row.target.receiver).is_empty())?;
    Some(format!(
        "nothing has reached {} since {}, and nobody else can be told",
        row.target, row.since
    ))
}

#[cfg(test)]
mod tests;
