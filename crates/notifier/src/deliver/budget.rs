//! How many messages a robot takes in a time, whichever receivers speak to it.
//!
//! Exact over any span of that length, not on average: a vendor that counts so blocks whoever sends one too many. What
//! was sent of late stands in a row of each lane, so that a restart does not begin anew.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use syncbell_config::Rate;
use syncbell_store::Store;
use tokio::time::Instant;
use url::Url;

use crate::delivery::Target;
use crate::ledger::Draft;
use crate::rows;

/// Times of one row, at most.
const KEPT: usize = 1_000;

/// What was sent of late, against what may be. By default there is no limit. Pure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    rates: Vec<Rate>,
    /// The latest ones, as many as the largest rate counts; in order.
    sent_at: VecDeque<Instant>,
    /// It asked for a pause until then, whoever it was that asked too much of it.
    paused_until: Option<Instant>,
}

impl Budget {
    /// Nothing was sent yet.
    pub(crate) fn new(rates: &[Rate]) -> Self {
        Self {
            rates: rates.to_vec(),
            sent_at: VecDeque::new(),
            paused_until: None,
        }
    }

    /// How long until one more may go; zero: now.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let of = |rate: &Rate| {
            let first = self.sent_at.len().checked_sub(count(*rate))?;
            Some((self.sent_at[first] + rate.per).saturating_duration_since(now))
        };
        let paused = self.paused_until;
        let paused = paused.map(|until| until.saturating_duration_since(now));
        let waits = self.rates.iter().filter_map(of).chain(paused);
        waits.max().unwrap_or_default()
    }

    /// Nothing goes before `until`.
    pub(crate) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// Until when it asked for a pause.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// One goes, or went.
    pub(crate) fn note(&mut self, at: Instant) {
        let place = self.sent_at.partition_point(|sent| *sent <= at);
        self.sent_at.insert(place, at);
        let most = self.rates.iter().map(|rate| count(*rate)).max();
        while self.sent_at.len() > most.unwrap_or_default() {
            self.sent_at.pop_front();
        }
    }

    /// These rates hold too.
    fn add(&mut self, rates: &[Rate]) {
        let new = rates.iter().filter(|rate| !self.rates.contains(rate));
        let new: Vec<Rate> = new.copied().collect();
        self.rates.extend(new);
    }

    /// Beyond this nothing counts any more.
    fn span(&self) -> Duration {
        let spans = self.rates.iter().map(|rate| rate.per);
        spans.max().unwrap_or_default()
    }
}

/// A budget that all lanes to one robot share.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedBudget(Arc<Mutex<Budget>>);

impl SharedBudget {
    pub(crate) fn new(rates: &[Rate]) -> Self {
        Self(Arc::new(Mutex::new(Budget::new(rates))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Budget> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was sent to `target` before a restart, as [`note_sent`] wrote it.
    pub(crate) async fn restore(
        &self,
        store: &Store,
        target: &Target,
    ) -> Result<(), syncbell_store::Error> {
        let key = rows::sent_of_late(target);
        let sent_at: Option<Vec<i64>> = store.read(move |reader| rows::find(reader, &key)).await?;
        let (now, now_ms) = (Instant::now(), Timestamp::now().as_millisecond());
        let mut budget = self.lock();
        for at_ms in sent_at.into_iter().flatten() {
            // A clock that was set back makes it younger than it is: that only waits for longer.
            let age_ms = u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0);
            let age = Duration::from_millis(age_ms);
            if age < budget.span()
                && let Some(at) = now.checked_sub(age)
            {
                budget.note(at);
            }
        }
        Ok(())
    }

    /// Writes that a message went to `target` at `at`; nothing where there is no limit.
    pub(crate) fn note_sent(
        &self,
        draft: &mut Draft<'_>,
        target: &Target,
        at: Timestamp,
    ) -> Result<(), syncbell_store::Error> {
        let (span, most) = {
            let budget = self.lock();
            let most = budget.rates.iter().map(|rate| count(*rate)).max();
            (budget.span(), most.unwrap_or_default().min(KEPT))
        };
        if most == 0 {
            return Ok(());
        }
        let key = rows::sent_of_late(target);
        let mut sent_at: Vec<i64> = draft.get(&key)?.unwrap_or_default();
        let at_ms = at.as_millisecond();
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        sent_at.retain(|sent_ms| at_ms.saturating_sub(*sent_ms) < span_ms);
        sent_at.push(at_ms);
        let over = sent_at.len().saturating_sub(most);
        sent_at.drain(..over);
        draft.put(key, &sent_at);
        Ok(())
    }
}

/// The budgets of all robots: two receivers of one URL are one robot to its vendor.
#[derive(Default)]
pub(crate) struct Budgets(BTreeMap<String, SharedBudget>);

impl Budgets {
    /// The one of the robot behind `url`, which has to keep `rates` too.
    pub(crate) fn of(&mut self, url: &Url, rates: &[Rate]) -> SharedBudget {
        let shared = self.0.entry(url.as_str().to_owned()).or_default();
        shared.lock().add(rates);
        shared.clone()
    }
}

fn count(rate: Rate) -> usize {
    usize::try_from(rate.count).unwrap_or(usize::MAX)
}

/// Messages a minute that all `rates` allow for long; at least one.
pub(crate) fn a_minute(rates: &[Rate]) -> usize {
    let of = |rate: &Rate| {
        let minute_ms = Duration::from_mins(1).as_millis() * u128::from(rate.count);
        usize::try_from(minute_ms / rate.per.as_millis().max(1)).unwrap_or(usize::MAX)
    };
    rates.iter().map(of).min().unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);

    fn rate(count: u32, per: Duration) -> Rate {
        Rate { count, per }
    }

    #[test]
    fn without_rates_there_is_no_limit() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        for _ in 0..100 {
            assert!(budget.wait(now).is_zero());
            budget.note(now);
        }
        assert!(budget.sent_at.is_empty());
    }

    #[test]
    fn the_one_too_many_waits_until_the_first_is_out_of_the_span() {
        let now = Instant::now();
        let mut budget = Budget::new(&[rate(18, MINUTE)]);
        for n in 0..18 {
            assert!(budget.wait(now + SECOND * n).is_zero(), "{n}");
            budget.note(now + SECOND * n);
        }
        assert_eq!(budget.wait(now + SECOND * 20), SECOND * 40);
        assert!(budget.wait(now + MINUTE).is_zero());
        budget.note(now + MINUTE);
        assert_eq!(budget.wait(now + MINUTE), SECOND);
    }

    #[test]
    fn several_rates_all_hold() {
        let now = Instant::now();
        let mut budget = Budget::new(&[rate(100, MINUTE), rate(5, SECOND)]);
        for _ in 0..5 {
            budget.note(now);
        }
        assert_eq!(budget.wait(now), SECOND);
        for n in 1..20 {
            for _ in 0..5 {
                budget.note(now + SECOND * n);
            }
        }
        assert_eq!(budget.wait(now + SECOND * 20), SECOND * 40);
        assert_eq!(a_minute(&[rate(100, MINUTE), rate(5, SECOND)]), 100);
        assert_eq!(a_minute(&[rate(1, SECOND)]), 60);
        assert_eq!(a_minute(&[rate(5, Duration::from_hours(1))]), 1);
    }

    #[tokio::test]
    async fn receivers_of_one_robot_share_its_budget_and_a_restart_forgets_nothing() {
        let url = Url::parse("https://oapi.dingtalk.com/robot/send?access_token=abc").unwrap();
        let other = Url::parse("https://oapi.dingtalk.com/robot/send?access_token=abd").unwrap();
        let rates = [rate(3, MINUTE)];
        let target = |receiver: &str| Target {
            receiver: receiver.to_owned(),
            address: None,
        };
        let ledger = crate::ledger::Ledger::open(Store::memory()).await.unwrap();
        let now = Instant::now();
        let mut budgets = Budgets::default();
        let (one, two) = (budgets.of(&url, &rates), budgets.of(&url, &rates));
        for (shared, receiver) in [(&one, "one"), (&two, "two"), (&one, "one")] {
            assert!(shared.lock().wait(now).is_zero());
            shared.lock().note(now);
            let (shared, target) = (shared.clone(), target(receiver));
            let noting = move |draft: &mut Draft<'_>, at| shared.note_sent(draft, &target, at);
            ledger.patiently(noting).await.unwrap();
        }
        assert_eq!(two.lock().wait(now), MINUTE, "both count");
        assert!(budgets.of(&other, &rates).lock().wait(now).is_zero());

        let again = Budgets::default().of(&url, &rates);
        again.restore(&ledger.store, &target("one")).await.unwrap();
        assert!(again.lock().wait(Instant::now()).is_zero());
        again.restore(&ledger.store, &target("two")).await.unwrap();
        let wait = again.lock().wait(Instant::now());
        assert!(wait > SECOND * 50, "{wait:?}");
        // What is older than the span counts no more, and does not stay.
        let long_ago = Timestamp::now() - jiff::SignedDuration::from_mins(2);
        let (shared, late) = (one.clone(), target("late"));
        let noting = move |draft: &mut Draft<'_>, now| {
            shared.note_sent(draft, &late, long_ago)?;
            shared.note_sent(draft, &late, long_ago)?;
            shared.note_sent(draft, &late, now)
        };
        ledger.patiently(noting).await.unwrap();
        let key = rows::sent_of_late(&target("late"));
        let read = ledger
            .store
            .read(move |reader| rows::find::<Vec<i64>>(reader, &key));
        assert_eq!(read.await.unwrap().unwrap().len(), 1);
    }

    #[test]
    fn all_rates_of_the_receivers_of_a_robot_hold() {
        let url = Url::parse("https://hooks.slack.com/services/T/B/x").unwrap();
        let (mut budgets, now) = (Budgets::default(), Instant::now());
        let wide = budgets.of(&url, &[rate(100, MINUTE)]);
        budgets.of(&url, &[rate(1, SECOND)]);
        wide.lock().note(now);
        assert_eq!(wide.lock().wait(now), SECOND);
    }

    proptest! {
        #[test]
        fn no_span_ever_holds_more_than_the_rate(
            count in 1_u32..8,
            waits in proptest::collection::vec(0_u64..2_000, 1..80),
        ) {
            let (mut at, mut sent) = (Instant::now(), Vec::new());
            let mut budget = Budget::new(&[rate(count, MINUTE)]);
            for wait in waits {
                at += Duration::from_millis(wait);
                at += budget.wait(at);
                prop_assert!(budget.wait(at).is_zero());
                budget.note(at);
                sent.push(at);
            }
            for (n, first) in sent.iter().enumerate() {
                let within = sent[n..].iter().filter(|one| **one - *first < MINUTE).count();
                prop_assert!(within <= count as usize);
            }
        }
    }
}
