//! A ping for a dead man's switch outside, while all is seen and everybody can be told.
//!
//! In: what the ledger knows of each instance, because its heartbeat came through the whole path: poller, log, and the
//! decision here; what it knows of receivers that fail. Out: a POST each `every`, or none. Whatever part stops, the
//! pings stop with it.
//!
//! Must never happen: a ping while an instance is blind or was not heard of in time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Client;
use syncbell_config::{Egress, Http, Secret};
use syncbell_store::Store;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::Error;
use crate::decide::watch::Watch;
use crate::deliver::{client, refused_literal};
use crate::metrics::{HeartbeatOutcome, NotifierMetrics};
use crate::render::text;
use crate::rows;
use crate::setup::Setup;
use crate::watchdog::{self, Failing};

/// Over one ping.
const DEADLINE: Duration = Duration::from_secs(10);
/// Instances that are looked at at once; more than anybody configures.
const INSTANCES_LIMIT: usize = 100_000;

/// A ping that is ready to be sent.
pub(crate) struct Heartbeat {
    client: Client,
    url: Secret<Url>,
    every: Duration,
    egress: Egress,
}

/// What it is decided by.
pub(crate) struct Pulse {
    pub(crate) store: Store,
    pub(crate) setup: Arc<Setup>,
    pub(crate) metrics: NotifierMetrics,
}

/// What a turn came to, to log a change of it once.
#[derive(Debug, PartialEq, Eq)]
enum Beat {
    Sent,
    /// Why nothing was sent.
    HeldBack(String),
    /// What went wrong.
    Failed(String),
}

impl Heartbeat {
    /// Prepares the connection; sends nothing.
    pub(crate) fn try_new(heartbeat: &syncbell_config::Heartbeat) -> Result<Self, Error> {
        let http = Http {
            timeout: DEADLINE,
            egress: heartbeat.egress.clone(),
            ..Http::default()
        };
        let client = client(heartbeat.url.expose(), &http).map_err(|error| {
            let what = format!("heartbeat: {}", text::chain(&error, 200));
            Error::Setup { what }
        })?;
        Ok(Self {
            client,
            url: heartbeat.url.clone(),
            every: heartbeat.every,
            egress: heartbeat.egress.clone(),
        })
    }

    /// Runs until `stop`. An error is a broken ledger.
    pub(crate) async fn run(self, pulse: Pulse, stop: CancellationToken) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Beat::Sent;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let held_back = match pulse.held_back(Timestamp::now()).await {
                Ok(held_back) => held_back,
                Err(error) if error.retry() == syncbell_store::Retry::Later => {
                    Some(format!("the ledger takes no rows: {error}"))
                }
                Err(error) => return Err(error.into()),
            };
            let beat = if let Some(why) = held_back {
                Beat::HeldBack(why)
            } else {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    beat = self.ping() => beat,
                }
            };
            pulse.metrics.heartbeat(match beat {
                Beat::Sent => HeartbeatOutcome::Sent,
                Beat::HeldBack(_) => HeartbeatOutcome::HeldBack,
                Beat::Failed(_) => HeartbeatOutcome::Failed,
            });
            log(&before, &beat);
            before = beat;
        }
    }

    async fn ping(&self) -> Beat {
        let url = self.url.expose();
        if let Some(refusal) = refused_literal(url, &self.egress) {
            return Beat::Failed(refusal);
        }
        let asked = self.client.post(url.clone()).body("").timeout(DEADLINE);
        match asked.send().await {
            Ok(answer) if answer.status().is_success() => Beat::Sent,
            Ok(answer) => Beat::Failed(format!("HTTP {}", answer.status())),
            // The URL is often a secret.
            Err(error) => Beat::Failed(text::chain(&error.without_url(), 200)),
        }
    }
}

/// Once when it begins, once when it is over.
fn log(before: &Beat, now: &Beat) {
    match (before, now) {
        (Beat::Failed(_), Beat::Failed(_))
        | (Beat::HeldBack(_), Beat::HeldBack(_))
        | (Beat::Sent, Beat::Sent) => {}
        (_, Beat::Failed(why)) => tracing::error!(why, "the heartbeat does not arrive"),
        (_, Beat::HeldBack(why)) => tracing::warn!(why, "the heartbeat is held back"),
        (_, Beat::Sent) => tracing::info!("the heartbeat is sent again"),
    }
}

impl Pulse {
    /// Why no ping is to be sent now, if so.
    async fn held_back(&self, now: Timestamp) -> Result<Option<String>, syncbell_store::Error> {
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
        Ok(unseen(&watches, &self.setup, now).or_else(|| untold(&failing, &self.setup)))
    }
}

/// The first instance that is not seen.
fn unseen(watches: &[Watch], setup: &Setup, now: Timestamp) -> Option<String> {
    let watched = || watches.iter().filter(|watch| watch.dropped_at.is_none());
    for watch in watched() {
        let instance = &watch.instance;
        if let Some(blind) = &watch.blind {
            return Some(format!("{instance} is blind: {}", blind.reason));
        }
        let Some(heard) = &watch.heard else {
            return Some(format!("{instance} was not heard of yet"));
        };
        let patience = setup.patience(instance);
        let due = heard
            .next_by
            .saturating_add(patience)
            .unwrap_or(Timestamp::MAX);
        if now > due {
            return Some(format!(
                "{instance} was not heard of since {}",
                heard.seen_until
            ));
        }
    }
    let mut named = setup.instances();
    let missing = named.find(|instance| watched().all(|watch| watch.instance != *instance));
    match missing {
        Some(instance) => Some(format!("{instance} was not heard of yet")),
        None if watched().next().is_none() => Some("no instance is watched yet".to_owned()),
        None => None,
    }
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
