//! When something wants to be looked at: a cache of what stands in rows.
//!
//! In: changes of turns, the time. Out: whose time has come. Must never happen: a time that stands in a row and not here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use syncbell_store::{Error, Store};

use crate::group::Group;
use crate::group::GroupKey;
use crate::rows;
use crate::setup::Setup;

/// When groups, or instances, want to be looked at; a cache of what stands in their rows.
#[derive(Debug)]
pub(crate) struct Timers<K>(BTreeMap<K, Timestamp>);

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Timers<K> {
    pub(crate) fn apply(&mut self, changes: BTreeMap<K, Option<Timestamp>>) {
        for (key, wakes_at) in changes {
            match wakes_at {
                Some(at) => self.0.insert(key, at),
                None => self.0.remove(&key),
            };
        }
    }

    /// Those whose time has come; a few at a time.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<K> {
        let due = self.0.iter().filter(|(_, at)| **at <= now);
        due.take(64).map(|(key, _)| key.clone()).collect()
    }

    /// The first one whose time has come, and when that is.
    pub(crate) fn first(&self, now: Timestamp) -> Option<(K, Timestamp)> {
        let due = self.0.iter().filter(|(_, at)| **at <= now);
        due.min_by_key(|(_, at)| **at)
            .map(|(key, at)| (key.clone(), *at))
    }

    /// When the first one's time comes.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.0.values().min().copied()
    }

    /// How long until the next one is due.
    pub(crate) fn sleep(&self, now: Timestamp) -> Duration {
        let next = self.0.values().min();
        let wait = next.map_or(SignedDuration::MAX, |at| at.duration_since(now));
        Duration::try_from(wait).unwrap_or(Duration::ZERO)
    }
}

/// Reads the timers back: rows are the truth, memory is a cache. What waits for a receiver that left the configuration is
/// looked at now.
pub(crate) async fn load_timers(
    store: &Store,
    setup: Arc<Setup>,
) -> Result<Timers<GroupKey>, Error> {
    store
        .read(move |reader| {
            let mut timers = Timers::default();
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = reader.scan(b"g/", after.as_deref(), 1_000)?;
                let Some((last, _)) = page.last() else {
                    return Ok(timers);
                };
                after = Some(last.clone());
                for (key, row) in page.iter().filter(|(key, _)| !rows::is_piece(key)) {
                    let group: Group = rows::read(reader, key, row)?;
                    let is_gone = || setup.routes.at(group.route(), &group.receiver).is_none();
                    if let Some(at) = group.wakes_at() {
                        let is_left = group.waiting > 0 && is_gone();
                        let at = if is_left { Timestamp::UNIX_EPOCH } else { at };
                        let digest = group.digest();
                        timers.0.insert((group.receiver, digest), at);
                    }
                }
            }
        })
        .await
}
