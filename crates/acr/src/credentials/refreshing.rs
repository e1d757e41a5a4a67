//! Keeps what a source gives, and asks it again before it ends.
//!
//! In: a [`Source`]. Out: credentials that are valid as far as anybody knows. Must never happen: two
//! questions at a time; a wait while what is held is still valid; valid credentials thrown away because
//! a refresh failed; a question for each request while the source is down.
//!
//! Time is tokio's, counted from the answer: a wall clock that is set does not end credentials. Where
//! it was wrong, or the machine slept, the server refuses and [`CredentialsProvider::renew`] follows.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::issued::{Issued, Source};
use super::{BoxFuture, Credentials, CredentialsProvider};
use crate::Error;

/// How long before their end credentials are replaced, as the vendor's SDKs do; of short-lived ones a
/// quarter of their life.
const MARGIN: Duration = Duration::from_mins(15);

/// After a failed refresh: the first pause, doubled by each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause. What is held lives at least minutes longer than the margin begins.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A provider that asks `source` as seldom as it can.
pub(crate) struct Refreshing<S> {
    inner: Arc<Inner<S>>,
    /// The refresh of what is still valid, which nobody waits for. Ends with us.
    aside: Mutex<JoinSet<()>>,
}

struct Inner<S> {
    source: S,
    state: Mutex<State>,
    /// Held by the one that asks.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The last question's failure; none after a success.
    failure: Option<Failure>,
    /// The source was asked for others than those held, which were refused, and had none. Until then it
    /// is not asked again for that reason.
    no_others_until: Option<Instant>,
    /// How many questions were answered, well or not: tells a waiter that its question was asked.
    n_answered: u64,
}

struct Held {
    credentials: Credentials,
    refresh_at: Option<Instant>,
    /// None: never.
    ends_at: Option<Instant>,
}

struct Failure {
    error: Error,
    n_in_a_row: u32,
    not_before: Instant,
}

/// What is to be done for somebody who wants credentials.
enum Next {
    Use(Credentials),
    /// Still valid, and it is time to ask for others.
    Replace(Credentials),
    /// None that are valid, and it is not time to ask again.
    Refuse(Error),
    /// None that are valid; the number of answers so far.
    Ask(u64),
}

impl<S> fmt::Debug for Refreshing<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refreshing")
    }
}

impl<S: Source + 'static> Refreshing<S> {
    pub(crate) fn new(source: S) -> Self {
        let inner = Inner {
            source,
            state: Mutex::default(),
            turn: Arc::default(),
        };
        Self {
            inner: Arc::new(inner),
            aside: Mutex::default(),
        }
    }

    async fn current(&self) -> Result<Credentials, Error> {
        let inner = &self.inner;
        match inner.next(Instant::now()) {
            Next::Use(credentials) => Ok(credentials),
            Next::Refuse(error) => Err(error),
            Next::Replace(valid) => {
                if let Ok(turn) = Arc::clone(&inner.turn).try_lock_owned() {
                    self.replace(turn);
                }
                Ok(valid)
            }
            Next::Ask(n_answered) => {
                let _turn = inner.turn.lock().await;
                if inner.state().n_answered != n_answered {
                    return inner.answered();
                }
                inner.ask().await
            }
        }
    }

    /// Asks beside the caller, which goes on with what is held.
    fn replace(&self, turn: OwnedMutexGuard<()>) {
        let inner = Arc::clone(&self.inner);
        let ask = async move {
            let _turn = turn;
            // Another may have had its turn in between.
            if let Next::Replace(_) = inner.next(Instant::now()) {
                // A failure is kept and told by `ask`.
                drop(inner.ask().await);
            }
        };
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        while aside.try_join_next().is_some() {}
        aside.spawn(ask.in_current_span());
    }
}

impl<S: Source> Inner<S> {
    /// What the question gave that was asked while we waited.
    fn answered(&self) -> Result<Credentials, Error> {
        let state = self.state();
        match (&state.failure, &state.held) {
            (Some(failure), _) => Err(failure.error.clone()),
            (None, Some(held)) => Ok(held.credentials.clone()),
            (None, None) => Err(super::fault(self.source.name(), "it gave nothing")),
        }
    }

    fn next(&self, now: Instant) -> Next {
        let state = self.state();
        let may_ask = state
            .failure
            .as_ref()
            .is_none_or(|failure| failure.not_before <= now);
        let is_past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match &state.held {
            Some(held) if !is_past(held.ends_at) => {
                let credentials = held.credentials.clone();
                if may_ask && is_past(held.refresh_at) {
                    Next::Replace(credentials)
                } else {
                    Next::Use(credentials)
                }
            }
            _ => match &state.failure {
                Some(failure) if !may_ask => Next::Refuse(failure.error.clone()),
                _ => Next::Ask(state.n_answered),
            },
        }
    }

    /// Asks the source; the caller has the turn.
    async fn ask(&self) -> Result<Credentials, Error> {
        let answer = self.source.fetch().await;
        let now = Instant::now();
        let mut state = self.state();
        state.n_answered += 1;
        match answer {
            Ok(issued) => {
                let held = Held::new(issued, now);
                let credentials = held.credentials.clone();
                state.held = Some(held);
                state.failure = None;
                state.no_others_until = None;
                Ok(credentials)
            }
            Err(error) => {
                let n_in_a_row = state
                    .failure
                    .as_ref()
                    .map_or(0, |failure| failure.n_in_a_row);
                let valid_s = state.held.as_ref().and_then(|held| {
                    let left = held.ends_at?.checked_duration_since(now)?;
                    (!left.is_zero()).then_some(left.as_secs())
                });
                state.failure = Some(Failure {
                    error: error.clone(),
                    n_in_a_row: n_in_a_row.saturating_add(1),
                    not_before: now + pause(n_in_a_row),
                });
                drop(state);
                tracing::warn!(
                    provider = self.source.name(),
                    %error,
                    valid_s,
                    "could not refresh the credentials"
                );
                Err(error)
            }
        }
    }

    async fn others(&self, refused: &Credentials) -> Result<Option<Credentials>, Error> {
        let _turn = self.turn.lock().await;
        {
            let mut state = self.state();
            let now = Instant::now();
            let had_none = state.no_others_until.is_some_and(|until| until > now);
            if let Some(held) = &mut state.held {
                let is_over = held.ends_at.is_some_and(|at| at <= now);
                if !held.credentials.are(refused) {
                    if !is_over {
                        return Ok(Some(held.credentials.clone()));
                    }
                } else if had_none {
                    return Ok(None);
                } else {
                    // Whatever their date says.
                    held.ends_at = Some(now);
                }
            }
            if let Some(failure) = &state.failure
                && failure.not_before > now
            {
                return Err(failure.error.clone());
            }
        }
        let new = self.ask().await?;
        if new.are(refused) {
            self.state().no_others_until = Some(Instant::now() + LONGEST_PAUSE);
            return Ok(None);
        }
        Ok(Some(new))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Source + 'static> CredentialsProvider for Refreshing<S> {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Error>> {
        Box::pin(self.current())
    }

    fn renew<'a>(
        &'a self,
        refused: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Credentials>, Error>> {
        Box::pin(self.inner.others(refused))
    }

    fn name(&self) -> &'static str {
        self.inner.source.name()
    }
}

impl Held {
    fn new(issued: Issued, now: Instant) -> Self {
        let life = issued.expires_at.map(|at| {
            let life = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
            // Over on arrival: the clocks differ, or the source is late. The server judges; what it
            // refuses is renewed, and until then the source is left alone for as long as a failed one.
            life.max(LONGEST_PAUSE)
        });
        let margin = life.map(|life| MARGIN.min(life / 4));
        Self {
            credentials: issued.credentials,
            refresh_at: life
                .zip(margin)
                .map(|(life, margin)| now + life.saturating_sub(margin)),
            ends_at: life.map(|life| now + life),
        }
    }
}

/// The pause after `n` failures before this one, half of it by chance: many processes that lost one
/// STS do not come back at one moment.
fn pause(n: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX))
        .min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + 0.5 * rand::random::<f64>())
}

#[cfg(test)]
mod tests;
