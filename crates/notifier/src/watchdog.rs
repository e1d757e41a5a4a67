//! That nothing reaches a receiver, told to its fallback: once when that has gone on for long, once when it is over.
//!
//! In: outcomes of attempts, as [`record`](crate::deliver::record) writes them; the time. Out: a row for each target
//! that fails, deliveries to its fallback. The row is written in the batch of the attempt, and what is told in the
//! batch that marks it as told: a restart neither forgets nor repeats.
//!
//! Must never happen: an alert about a receiver that goes to that receiver, or hands itself on: then a fallback that
//! fails too would tell of itself for ever. Who nobody can be told of is logged, counted, and holds the heartbeat back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_event::{AlertItem, AlertStatus, EventId, Severity, digest_id};
use syncbell_store::Store;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::consume::Wake;
use crate::decide::summary;
use crate::delivery::{Delivery, Entry, Target};
use crate::ledger::{Draft, Ledger};
use crate::metrics::NotifierMetrics;
use crate::outcome::Outcome;
use crate::render::{FAILING_RECEIVER, RECEIVER_FAILING};
use crate::rows;
use crate::setup::Setup;

/// Targets that are looked at at once; more than anybody configures.
const TARGETS_LIMIT: usize = 10_000;
/// How often it looks, at most and at least.
const LOOKS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(15)];

/// A target of which the last attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failing {
    pub(crate) target: Target,
    /// The first attempt that failed since something was taken.
    pub(crate) since: Timestamp,
    /// What the last one said.
    pub(crate) note: String,
    /// The class of the last outcome.
    pub(crate) outcome: String,
    /// It has gone on for long.
    pub(crate) told_at: Option<Timestamp>,
    /// Who was told so.
    pub(crate) told: Vec<Target>,
    /// Something was taken again, which is still to be told.
    pub(crate) over_at: Option<Timestamp>,
}

/// Writes what an attempt says about its target.
pub(crate) fn attempted(
    draft: &mut Draft<'_>,
    target: &Target,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<(), syncbell_store::Error> {
    let key = rows::failing(target);
    let known = draft.get::<Failing>(&key)?;
    match (outcome, known) {
        (Outcome::Delivered { .. }, Some(mut failing)) => {
            if failing.told_at.is_none() {
                draft.delete(key);
            } else if failing.over_at.is_none() {
                failing.over_at = Some(now);
                draft.put(key, &failing);
            }
        }
        // A message that is refused says that somebody is there, and not that anything arrives.
        (
            Outcome::Delivered { .. } | Outcome::PermanentMessage { .. } | Outcome::TooLarge { .. },
            _,
        ) => {}
        (failed, known) => {
            let began = known.unwrap_or_else(|| Failing {
                target: target.clone(),
                since: now,
                note: String::new(),
                outcome: String::new(),
                told_at: None,
                told: Vec::new(),
                over_at: None,
            });
            let failing = Failing {
                note: failed.note().to_owned(),
                outcome: failed.name().to_owned(),
                // It came back for a moment: that was not told, and is not so.
                over_at: None,
                ..began
            };
            draft.put(key, &failing);
        }
    }
    Ok(())
}

/// The targets of which the last attempt failed.
pub(crate) async fn failing(store: &Store) -> Result<Vec<Failing>, syncbell_store::Error> {
    let read = store.read(|reader| {
        let mut found = Vec::new();
        for (key, row) in reader.scan(rows::FAILING, None, TARGETS_LIMIT)? {
            if !rows::is_piece(&key) {
                found.extend(rows::seen::<Failing>(reader, &key, &row)?);
            }
        }
        Ok(found)
    });
    read.await
}

/// Looks after the rows.
pub(crate) struct Watchdog {
    pub(crate) ledger: Ledger,
    pub(crate) setup: Arc<Setup>,
    /// The targets that have a lane.
    pub(crate) targets: BTreeSet<Target>,
    /// So long nothing reached a target that is told.
    pub(crate) after: Duration,
    pub(crate) metrics: NotifierMetrics,
    pub(crate) wake: Arc<Wake>,
}

impl Watchdog {
    /// Runs until `stop`. An error is a broken ledger.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let [least, most] = LOOKS;
        let pause = (self.after / 4).clamp(least, most);
        loop {
            self.look().await?;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One look at all rows.
    async fn look(&self) -> Result<(), Error> {
        let found = match failing(&self.ledger.store).await {
            Ok(found) => found,
            Err(error) if error.retry() == syncbell_store::Retry::Later => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let after = SignedDuration::try_from(self.after).unwrap_or(SignedDuration::MAX);
        let mut long = 0;
        for row in found {
            let step = next_step(
                &row,
                self.targets.contains(&row.target),
                after,
                Timestamp::now(),
            );
            match step {
                Step::Wait => long += i64::from(row.told_at.is_some()),
                Step::Begin => {
                    long += 1;
                    let to = self.setup.routes.fallbacks(&row.target.receiver);
                    self.begin(row, to).await?;
                }
                Step::End => self.end(row).await?,
                Step::Forget => {
                    let key = rows::failing(&row.target);
                    let forget = move |draft: &mut Draft<'_>, _| {
                        draft.delete(key.clone());
                        Ok(())
                    };
                    self.ledger.patiently(forget).await?;
                }
            }
        }
        self.metrics.receivers_failing.set(long);
        Ok(())
    }

    async fn begin(&self, row: Failing, to: Vec<Target>) -> Result<(), Error> {
        tracing::error!(
            target = %row.target, since = %row.since, note = row.note, fallbacks = to.len(),
            "nothing has reached this receiver for long"
        );
        let told = to.clone();
        let begins = move |draft: &mut Draft<'_>, now| {
            let key = rows::failing(&row.target);
            // Its lane writes to the row too: what it says now counts.
            let current = draft.get::<Failing>(&key)?;
            let Some(mut current) = current.filter(|row| row.told_at.is_none()) else {
                return Ok(());
            };
            current.told_at = Some(now);
            current.told.clone_from(&to);
            draft.put(key, &current);
            tell(draft, &current, AlertStatus::Firing, now);
            Ok(())
        };
        self.ledger.patiently(begins).await?;
        (self.wake)(&told.into_iter().collect(), false);
        Ok(())
    }

    async fn end(&self, row: Failing) -> Result<(), Error> {
        tracing::info!(target = %row.target, since = %row.since, "the receiver is reached again");
        let told = row.told.clone();
        let lanes = self.targets.clone();
        let ends = move |draft: &mut Draft<'_>, now| {
            let key = rows::failing(&row.target);
            let current = draft.get::<Failing>(&key)?;
            let Some(mut current) = current.filter(|row| row.over_at.is_some()) else {
                return Ok(());
            };
            current.told.retain(|target| lanes.contains(target));
            draft.delete(key);
            tell(draft, &current, AlertStatus::Resolved, now);
            Ok(())
        };
        self.ledger.patiently(ends).await?;
        (self.wake)(&told.into_iter().collect(), false);
        Ok(())
    }
}

/// What is to be done about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Wait,
    Begin,
    End,
    /// The target left the configuration, and is no fault any more.
    Forget,
}

fn next_step(row: &Failing, has_lane: bool, after: SignedDuration, now: Timestamp) -> Step {
    if !has_lane {
        return Step::Forget;
    }
    match (row.told_at, row.over_at) {
        (Some(_), Some(_)) => Step::End,
        (None, _) if now.duration_since(row.since) >= after => Step::Begin,
        _ => Step::Wait,
    }
}

/// A delivery to each who is told. They hand themselves on to nobody.
fn tell(draft: &mut Draft<'_>, row: &Failing, status: AlertStatus, now: Timestamp) {
    let entry = entry(row, status, now);
    let mut labels = BTreeMap::from([(FAILING_RECEIVER.to_owned(), row.target.receiver.clone())]);
    if let Some(address) = &row.target.address {
        labels.insert("address".to_owned(), address.clone());
    }
    for target in &row.told {
        let told = (&labels, std::slice::from_ref(&entry));
        let seq = draft.next_number();
        draft.enqueue(&Delivery::due_now(target, told, 0, seq, now));
    }
}

/// Its ids are over (target, since): whoever tells it, tells one thing.
fn entry(row: &Failing, status: AlertStatus, now: Timestamp) -> Entry {
    let (target, since) = (&row.target, row.since.to_string());
    let parts = [
        Some(RECEIVER_FAILING),
        Some(target.receiver.as_str()),
        target.address.as_deref(),
    ];
    let lasted = summary::spoken(now.duration_since(row.since));
    let summary = match status {
        AlertStatus::Firing => {
            let clock = summary::clock(row.since, now);
            format!("nothing has reached {target} since {clock}: {}", row.note)
        }
        AlertStatus::Resolved => format!("{target} is reached again, after {lasted}"),
    };
    let none = BTreeMap::new();
    Entry {
        item: AlertItem {
            incident: digest_id(parts),
            rule: RECEIVER_FAILING.to_owned(),
            severity: Severity::Critical,
            status,
            reason: row.outcome.clone(),
            since: row.since,
            summary,
            instance: None,
            region: None,
            sync_rule_id: None,
            repo: None,
            task: None,
            resolved_by: None,
            detail: None,
            labels: none.clone(),
            annotations: none,
        },
        event_id: EventId(digest_id(parts.into_iter().chain([Some(since.as_str())]))),
        message: Some(row.note.clone()),
        occurrence: 1,
        history: Vec::new(),
        flapping: false,
        instance: String::new(),
        observed_at: now,
        traceparent: None,
    }
}

#[cfg(test)]
mod tests;
