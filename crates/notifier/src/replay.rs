//! What the rules, the route and the receivers of now make of the events of before: for `syncbell replay`.
//!
//! In: events of the log, oldest first, from some time before `since` on. Out: the deliveries that they would
//! cause, under ids of their own, marked as a replay. They are decided over a ledger in memory, with the time
//! of each event for now, so that groups and heartbeats come out as they would have. What stands before
//! `since` is decided too, and not shown: it is how things stood.
//!
//! Not replayed is what no event causes: that nothing was heard of an instance. What hides what holds in a replay
//! too; silences do not.
//!
//! Must never happen: an incident, a position or a mark of the real ledger that a replay changes; a replay
//! without an end.

mod log;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_config::{Instance, Receiver, Route, RuleSwitches};
use syncbell_event::{Envelope, Replay, digest_id};
use syncbell_store::Store;

pub use self::log::replay_log;
use crate::Error;
use crate::consume;
use crate::delivery::{Delivery, DeliveryId};
use crate::done::Done;
use crate::group::GroupKey;
use crate::held;
use crate::hold::Holder;
use crate::judge::judge;
use crate::ledger::{Draft, Ledger};
use crate::notify::{self, Timers};
use crate::rows;
use crate::setup::Setup;

/// So long before `since` events are looked at to know how things stood.
pub const BEFORE: SignedDuration = SignedDuration::from_hours(24);

/// Events since then; what is beyond is left out and counted.
const EVENTS_LIMIT: u64 = 100_000;

/// Notifications of one replay; what is beyond is left out and counted.
const NOTIFICATIONS_LIMIT: usize = 1_000;

/// What is to be replayed; also the body of `POST /replay`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventsReplay {
    /// Events that were observed then or later.
    pub since: Timestamp,
    /// Only what this receiver is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
}

/// One notification of a replay, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// When it would have been decided.
    pub at: Timestamp,
    /// The receiver's name.
    pub receiver: String,
    /// With the address, if it is mail.
    pub target: String,
    /// The labels it is grouped by.
    pub group: BTreeMap<String, String>,
    /// The incidents in it.
    pub incidents: Vec<String>,
    /// What it tells, a line each.
    pub summaries: Vec<String>,
    /// Its id, where it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DeliveryId>,
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventsReplayed {
    /// Since when.
    pub since: Timestamp,
    /// Events since then that were decided.
    pub events: u64,
    /// Events since then that were left out, as there are too many.
    pub events_left_out: u64,
    /// The oldest first.
    pub notifications: Vec<Notification>,
    /// Notifications that were left out, as there are too many.
    pub notifications_left_out: u64,
}

/// A replay under way: give it events with [`Replayer::take`], then [`Replayer::end`] it.
pub struct Replayer {
    ledger: Ledger,
    setup: Arc<Setup>,
    wanted: EventsReplay,
    now: Timestamp,
    timers: Timers<GroupKey>,
    /// The first of the timers.
    next_at: Option<Timestamp>,
    events: u64,
    left_out: u64,
    deliveries: Vec<Delivery>,
    notifications_left_out: u64,
}

impl Replayer {
    /// Over the configuration that is given.
    pub async fn new(
        wanted: EventsReplay,
        route: &Route,
        receivers: &[Receiver],
        rules: &RuleSwitches,
        instances: &[Instance],
    ) -> Result<Self, Error> {
        let setup = Arc::new(Setup::new(route, receivers, rules, instances));
        Self::over(wanted, setup).await
    }

    pub(crate) async fn over(wanted: EventsReplay, setup: Arc<Setup>) -> Result<Self, Error> {
        if let Some(name) = &wanted.receiver
            && setup.routes.named(name).is_none()
        {
            let what = format!("no receiver of the route is named {name:?}");
            return Err(Error::Setup { what });
        }
        Ok(Self {
            ledger: Ledger::open(Store::memory()).await?,
            setup,
            wanted,
            now: Timestamp::MIN,
            timers: Timers::default(),
            next_at: None,
            events: 0,
            left_out: 0,
            deliveries: Vec::new(),
            notifications_left_out: 0,
        })
    }

    /// The next event.
    pub async fn take(&mut self, envelope: Envelope) -> Result<(), Error> {
        let is_shown = envelope.time >= self.wanted.since;
        if is_shown && self.events >= EVENTS_LIMIT {
            self.left_out += 1;
            return Ok(());
        }
        // Of several clocks one may be behind: this one never goes back.
        self.pass(self.now.max(envelope.time)).await?;
        self.events += u64::from(is_shown);
        let (setup, now) = (self.setup.clone(), self.now);
        let turn = self.ledger.turn(move |draft| {
            let mut done = Done::default();
            consume::consume(draft, envelope, &setup, now, &mut done)?;
            Ok(done)
        });
        let mut done = turn.await?;
        let mut judging = done.judging.take();
        self.finish(done).await?;
        while let Some(instance) = judging.take() {
            let (setup, now) = (self.setup.clone(), self.now);
            let turn = self.ledger.turn(move |draft| {
                let mut done = Done::default();
                let more = judge(draft, &setup, &instance, now, &mut done)?;
                done.judging = more.then_some(instance);
                Ok(done)
            });
            let mut done = turn.await?;
            judging = done.judging.take();
            self.finish(done).await?;
        }
        Ok(())
    }

    /// There are no more events. What waits in a group is told now.
    pub async fn end(self) -> Result<EventsReplayed, Error> {
        self.ended().await.map(|(replayed, _)| replayed)
    }

    async fn ended(mut self) -> Result<(EventsReplayed, Vec<Delivery>), Error> {
        let now = Timestamp::now().max(self.now);
        self.pass(now).await?;
        let replayed = EventsReplayed {
            since: self.wanted.since,
            events: self.events,
            events_left_out: self.left_out,
            notifications: self.deliveries.iter().map(Notification::of).collect(),
            notifications_left_out: self.notifications_left_out,
        };
        Ok((replayed, self.deliveries))
    }

    /// Time goes on to `now`: what is due in between is told when it is due.
    async fn pass(&mut self, now: Timestamp) -> Result<(), Error> {
        while self.next_at.is_some_and(|at| at <= now) {
            let Some((key, at)) = self.timers.first(now) else {
                break;
            };
            self.now = self.now.max(at);
            let (setup, then) = (self.setup.clone(), self.now);
            let turn = self.ledger.turn(move |draft| {
                let mut done = Done::default();
                notify::tick(draft, &key, &setup, then, &mut done)?;
                Ok(done)
            });
            let done = turn.await?;
            self.finish(done).await?;
        }
        self.now = now;
        Ok(())
    }

    async fn finish(&mut self, done: Done) -> Result<(), Error> {
        let mut releasing = done.releasing.clone();
        self.show_told(done).await?;
        while let Some(id) = releasing.pop_first() {
            let (setup, now) = (self.setup.clone(), self.now);
            let turn = self.ledger.turn(move |draft| {
                let mut done = Done::default();
                let holder = Holder::Incident(id.clone());
                if held::release(draft, &setup, &holder, now, &mut done)? {
                    done.releasing.insert(id);
                }
                Ok(done)
            });
            let done = turn.await?;
            releasing.extend(done.releasing.iter().cloned());
            self.show_told(done).await?;
        }
        Ok(())
    }

    async fn show_told(&mut self, done: Done) -> Result<(), Error> {
        if !done.timers.is_empty() {
            self.timers.apply(done.timers);
            self.next_at = self.timers.next_at();
        }
        for target in done.lanes {
            let lane = rows::lane(&target);
            let taken = self.ledger.turn(move |draft: &mut Draft<'_>| {
                let mut taken: Vec<Delivery> = Vec::new();
                for (key, row) in draft.reader.scan(&lane, None, usize::MAX)? {
                    if !rows::is_piece(&key) {
                        taken.push(rows::read(draft.reader, &key, &row)?);
                        // That it stood is kept (`x/`): it is not told twice.
                        draft.delete(key);
                    }
                }
                Ok(taken)
            });
            for delivery in taken.await? {
                self.show(delivery);
            }
        }
        Ok(())
    }

    fn show(&mut self, delivery: Delivery) {
        let receiver = self.wanted.receiver.as_ref();
        let is_wanted = receiver.is_none_or(|name| *name == delivery.target.receiver);
        if !is_wanted || self.now < self.wanted.since {
            return;
        }
        if self.deliveries.len() < NOTIFICATIONS_LIMIT {
            self.deliveries.push(delivery);
        } else {
            self.notifications_left_out += 1;
        }
    }
}

impl Notification {
    pub(crate) fn of(delivery: &Delivery) -> Self {
        let items = || delivery.entries.iter().map(|entry| &entry.item);
        let mut incidents: Vec<String> = items().map(|item| item.incident.clone()).collect();
        incidents.sort();
        incidents.dedup();
        Self {
            at: delivery.created_at,
            receiver: delivery.target.receiver.clone(),
            target: delivery.target.to_string(),
            group: delivery.group.clone(),
            incidents,
            summaries: items()
                .map(|item| format!("{}: {}", item.status.as_str(), item.summary))
                .collect(),
            id: None,
        }
    }
}

/// The deliveries as they are sent: each under an id of its own, marked, and no faster than their receivers
/// take them.
pub(crate) fn marked(
    deliveries: Vec<Delivery>,
    setup: &Setup,
    since: Timestamp,
    now: Timestamp,
) -> Vec<Delivery> {
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    let at = now.to_string();
    let mark = |mut delivery: Delivery| {
        let of = std::mem::replace(&mut delivery.created_at, now);
        let id = digest_id(["replay", &delivery.id.0, &at].map(Some));
        delivery.id = DeliveryId(id);
        delivery.replay = Some(Replay { since, of, at: now });
        let receiver = &delivery.target.receiver;
        let before = sent.entry(receiver.clone()).or_default();
        let cap = setup.routes.named(receiver).map_or(1, |r| r.policy.cap);
        let minutes = i32::try_from(*before / cap.max(1)).unwrap_or(i32::MAX);
        *before += 1;
        let wait = SignedDuration::from_mins(i64::from(minutes));
        delivery.due_at = now.saturating_add(wait).unwrap_or(now);
        delivery
    };
    deliveries.into_iter().map(mark).collect()
}
