//! How many requests may go out to one account in one region, and which first.
//!
//! In: who asks, and what the server said about too many. Out: nothing, when it is time. Must never
//! happen: a request before a throttled server said that it may come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use syncbell_acr::{BoxFuture, Gate};
use syncbell_service::metrics::Sample;
use syncbell_service::{AdaptiveBucket, Bucket, Metrics};
use tokio::time::Instant;

use crate::accounts::AccountKey;

/// Requests a second that an account may make in a region; the vendor names no number.
const PER_SECOND: f64 = 10.0;

/// Requests that may go out at once.
const BURST: u32 = 10;

/// What a request is for: the newest tasks come before all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The newest pages: may use the whole rate.
    Head,
    /// The pages of a full sweep: half of the rate.
    Sweep,
    /// Single tasks, rules, instances: 30 % of the rate.
    Extra,
}

impl Lane {
    /// Its part of the rate, of which it may use no more.
    fn share(self) -> f64 {
        match self {
            Self::Head => 1.0,
            Self::Sweep => 0.5,
            Self::Extra => 0.3,
        }
    }
}

/// Pure: one bucket for all, one more for each lane that may not use it whole.
#[derive(Clone, Debug)]
struct Lanes {
    all: AdaptiveBucket,
    sweep: Bucket,
    extra: Bucket,
}

impl Lanes {
    fn new(per_second: f64, now: Instant) -> Self {
        let part = |lane: Lane| {
            // 5 and 3: shares of a burst of 10.
            let burst = (f64::from(BURST) * lane.share()).round().max(1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is between 1 and BURST"
            )]
            Bucket::new(per_second * lane.share(), burst as u32, now)
        };
        Self {
            all: AdaptiveBucket::new(per_second, BURST, now),
            sweep: part(Lane::Sweep),
            extra: part(Lane::Extra),
        }
    }

    fn take(&mut self, lane: Lane, now: Instant) -> Result<(), Duration> {
        let rate = self.all.rate(now) * lane.share();
        let part = match lane {
            Lane::Head => return self.all.take(now),
            Lane::Sweep => &mut self.sweep,
            Lane::Extra => &mut self.extra,
        };
        part.set_rate(rate, now);
        part.ready(now)?;
        self.all.take(now)?;
        part.take(now)
    }

    fn throttled(&mut self, now: Instant, delay: Option<Duration>) {
        self.all.throttled(now, delay);
        let resumes_at = self.all.pause_left(now).map(|left| now + left);
        for part in [&mut self.sweep, &mut self.extra] {
            match resumes_at {
                Some(resumes_at) => part.rest_until(resumes_at),
                None => part.spend_burst(now),
            }
        }
    }
}

/// The budget of one account and region, shared by all that ask there.
#[derive(Debug)]
pub(crate) struct Budget {
    lanes: Mutex<Lanes>,
    /// Whoever waits in a lane waits in line: none is overtaken for ever.
    lines: [tokio::sync::Mutex<()>; 3],
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self::with_rate(PER_SECOND)
    }

    pub(crate) fn with_rate(per_second: f64) -> Self {
        Self {
            lanes: Mutex::new(Lanes::new(per_second, Instant::now())),
            lines: Default::default(),
        }
    }

    /// Returns when a request may go out.
    pub(crate) async fn take(&self, lane: Lane) {
        let _first_in_line = self.line(lane).lock().await;
        loop {
            let taken = self.lanes().take(lane, Instant::now());
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Whether a request may go out at once; if so, it counts.
    pub(crate) fn try_take(&self, lane: Lane) -> bool {
        let Ok(_first_in_line) = self.line(lane).try_lock() else {
            return false;
        };
        self.lanes().take(lane, Instant::now()).is_ok()
    }

    /// The server throttled a request: all that share the budget slow down, and with `delay` stop for
    /// that long.
    pub(crate) fn throttled(&self, delay: Option<Duration>) {
        self.lanes().throttled(Instant::now(), delay);
    }

    /// Requests a second that may go out now.
    pub(crate) fn rate(&self) -> f64 {
        self.lanes().all.rate(Instant::now())
    }

    fn is_paused(&self) -> bool {
        self.lanes().all.pause_left(Instant::now()).is_some()
    }

    fn line(&self, lane: Lane) -> &tokio::sync::Mutex<()> {
        match lane {
            Lane::Head => &self.lines[0],
            Lane::Sweep => &self.lines[1],
            Lane::Extra => &self.lines[2],
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between [`Budget::take`] and the sending a pause may begin, by another's answer: then the token is
/// void, and another is taken after it.
impl Gate for Budget {
    fn pass(&self, again: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if again || self.is_paused() {
                self.take(Lane::Head).await;
            }
        })
    }

    fn throttled(&self, delay: Option<Duration>) {
        Budget::throttled(self, delay);
    }
}

/// The budgets by account and region, cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budgets(Arc<Mutex<ByPlace>>);

type ByPlace = BTreeMap<(AccountKey, String), Arc<Budget>>;

impl Budgets {
    pub(crate) fn of(&self, account: AccountKey, region: &str) -> Arc<Budget> {
        let mut budgets = self.by_place();
        let budget = budgets.entry((account, region.to_owned()));
        Arc::clone(budget.or_insert_with(|| Arc::new(Budget::new())))
    }

    /// Shows each budget's rate, also of accounts and regions that come later.
    pub(crate) fn show(&self, metrics: &Metrics) {
        let budgets = self.clone();
        let help = "Requests that may go out, less while the server throttles; accounts are \
                    numbered in the configuration's order";
        metrics.observe("budget_requests_per_second", help, move || {
            let budgets = budgets.by_place();
            let rate =
                |((account, region), budget): (&(AccountKey, String), &Arc<Budget>)| Sample {
                    labels: vec![
                        ("account", account.number().to_string()),
                        ("region", region.clone()),
                    ],
                    value: budget.rate(),
                };
            budgets.iter().map(rate).collect()
        });
    }

    fn by_place(&self) -> MutexGuard<'_, ByPlace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
