//! The events of a log for a replay, those of several partitions by their time; and the replay that a
//! notifier sends.
//!
//! In: a log, since when. Out: events in order; deliveries in the lanes. Must never happen: a log whose
//! removal of old records a replay holds up.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use syncbell_bus::{Bus, Next, StartAt, Stream, Subscriber};
use syncbell_event::Envelope;

use super::{BEFORE, EventsReplay, EventsReplayed, Replayer, marked};
use crate::delivery::Delivery;
use crate::ledger::Draft;
use crate::run::Handle;
use crate::{Error, tail};

/// A reader of the embedded log keeps from removal what it has not acknowledged: so often it begins anew.
const RENEW_BYTES: usize = 8 * 1024 * 1024;

/// Each partition has a reader of its own; more than any topic of ours has.
const PARTITIONS_LIMIT: usize = 64;

/// Deliveries put into the lanes at once.
const DELIVERIES_A_BATCH: usize = 64;

/// Gives `replayer` the events of `bus`, from some time before `since` to where the log ends now.
pub async fn replay_log(bus: &Bus, since: Timestamp, replayer: &mut Replayer) -> Result<(), Error> {
    let bounds = bus.bounds(Stream::Changes).await?;
    let from = since.checked_sub(BEFORE).unwrap_or(Timestamp::MIN);
    let start = tail::before(bus, &bounds, from).await?;
    let mut partitions = Vec::new();
    for (partition, end) in bounds.end.iter() {
        let next = start.get(partition).unwrap_or(0);
        if next < end {
            partitions.push(Partition {
                bus: bus.clone(),
                ends: bounds.end.clone(),
                number: partition,
                next,
                end,
                subscriber: None,
                read_bytes: 0,
                events: VecDeque::new(),
            });
        }
    }
    if partitions.len() > PARTITIONS_LIMIT {
        let what = format!("the log has more than {PARTITIONS_LIMIT} partitions with events");
        return Err(Error::Setup { what });
    }
    loop {
        for partition in &mut partitions {
            partition.fill().await?;
        }
        let first = partitions
            .iter_mut()
            .filter(|partition| !partition.events.is_empty())
            .min_by_key(|partition| partition.events[0].time);
        let Some(event) = first.and_then(|partition| partition.events.pop_front()) else {
            return Ok(());
        };
        replayer.take(event).await?;
    }
}

/// One partition, read in its order.
struct Partition {
    bus: Bus,
    ends: Next,
    number: u32,
    next: u64,
    end: u64,
    subscriber: Option<Box<dyn Subscriber>>,
    read_bytes: usize,
    events: VecDeque<Envelope>,
}

impl Partition {
    /// Sees to it that an event is there, unless there is none any more.
    async fn fill(&mut self) -> Result<(), Error> {
        while self.events.is_empty() && self.next < self.end {
            if self.read_bytes >= RENEW_BYTES {
                self.subscriber = None;
                self.read_bytes = 0;
            }
            if self.subscriber.is_none() {
                // The others give what comes meanwhile: it is passed over.
                let mut at = self.ends.clone();
                at.set(self.number, self.next);
                let opened = self.bus.subscribe(Stream::Changes, StartAt::At(at));
                self.subscriber = Some(opened.await?);
            }
            let Some(subscriber) = &mut self.subscriber else {
                continue;
            };
            for read in tail::soon(&mut **subscriber).await? {
                self.read_bytes += read.record.size_bytes();
                if read.position.partition != self.number {
                    continue;
                }
                self.next = read.position.offset.saturating_add(1);
                if read.position.offset < self.end {
                    // What is no event is in the dead letters.
                    self.events
                        .extend(Envelope::decode(&read.record.value).ok());
                }
            }
        }
        Ok(())
    }
}

impl Handle {
    /// Replays the events of this notifier's log by its own rules, and sends what comes of it: marked, each
    /// under an id of its own. None: another replay is under way.
    pub async fn replay_events(
        &self,
        wanted: EventsReplay,
    ) -> Result<Option<EventsReplayed>, Error> {
        let Some(setup) = self.setup().cloned() else {
            let what = "no notifier runs that could send it".to_owned();
            return Err(Error::Setup { what });
        };
        let Ok(_one) = self.replaying.try_lock() else {
            return Ok(None);
        };
        let since = wanted.since;
        let mut replayer = Replayer::over(wanted, Arc::clone(&setup)).await?;
        replay_log(&self.bus, since, &mut replayer).await?;
        let (mut replayed, deliveries) = replayer.ended().await?;
        let deliveries = marked(deliveries, &setup, since, Timestamp::now());
        for (notification, delivery) in replayed.notifications.iter_mut().zip(&deliveries) {
            notification.id = Some(delivery.id.clone());
        }
        for chunk in deliveries.chunks(DELIVERIES_A_BATCH) {
            let chunk: Vec<Delivery> = chunk.to_vec();
            let put = self.ledger.patiently(move |draft: &mut Draft<'_>, _| {
                for delivery in &chunk {
                    let seq = draft.next_number();
                    draft.enqueue(&Delivery {
                        seq,
                        ..delivery.clone()
                    });
                }
                Ok(())
            });
            put.await?;
        }
        tracing::info!(
            since = %since, events = replayed.events, notifications = replayed.notifications.len(),
            "events were replayed"
        );
        for signal in self.signals.values() {
            signal.wake();
        }
        Ok(Some(replayed))
    }
}
