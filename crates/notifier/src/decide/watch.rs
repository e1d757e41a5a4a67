//! `blind`: whether an instance is seen. Pure.
//!
//! In: what the poller says of its own sight, and what time it is. Out: what the ledger keeps about the
//! instance, and what shall be told. Must never happen: an instance that nobody sees and nobody is told of;
//! blindness told twice, or because the log was not read to its end.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_event::{Failing, Swept, TraceParent};

use super::incident::{ClosedBy, Incident, Subject};
use super::notice::{self, About, Told};
use super::{Heartbeat, Rule, summary};
use crate::begin::LedgerLost;

/// An instance that was never heard of is waited for so long: a poller that starts reads all of it first.
pub(crate) const FIRST_WORD: SignedDuration = SignedDuration::from_mins(10);

/// An instance that left the configuration is not watched again because of what comes within this time: the
/// poller is told later, and the log is read behind.
const LAST_WORDS: SignedDuration = SignedDuration::from_mins(10);

/// A word older than the last heartbeat by more than this is one that is read again. What is younger is
/// known by its id; clocks are set back by less.
const READ_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// What the ledger keeps about an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) instance: String,
    pub(crate) region: Option<String>,
    /// It stands in the configuration; else it is known from events alone.
    pub(crate) configured: bool,
    /// Since when something is to be heard of it; our clock.
    pub(crate) expected_since: Timestamp,
    /// The last heartbeat.
    pub(crate) heard: Option<Heard>,
    /// The poller said that it recovered; its clock.
    pub(crate) recovered_at: Option<Timestamp>,
    /// It cannot be seen, and that was told (or would have been: see [`Watch::go_blind`]).
    pub(crate) blind: Option<Blindness>,
    /// A heartbeat that is not wholly judged yet.
    pub(crate) judging: Option<Heartbeat>,
    /// When it left the configuration.
    pub(crate) dropped_at: Option<Timestamp>,
}

/// A heartbeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// The server's clock.
    pub(crate) seen_until: Timestamp,
    /// By when the next one is due.
    pub(crate) next_by: Timestamp,
    /// The poller's clock.
    pub(crate) observed_at: Timestamp,
}

/// A time in which it cannot be seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Blindness {
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
}

/// What a word of the poller came with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) region: &'a str,
    /// When it was said; the poller's clock.
    pub(crate) at: Timestamp,
    pub(crate) traceparent: Option<TraceParent>,
}

/// That the log is not the one that was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LogLost {
    /// In what it differs.
    pub(crate) why: String,
    /// Events that were cut away unread, where that is known; else those that are read again.
    pub(crate) count: u64,
    /// Whether these were cut away.
    pub(crate) unread: bool,
    /// When it was found out; our clock.
    pub(crate) at: Timestamp,
}

impl Watch {
    /// An instance of which nothing is known yet.
    pub(crate) fn new(instance: &str, configured: bool, now: Timestamp) -> Self {
        Self {
            instance: instance.to_owned(),
            region: None,
            configured,
            expected_since: now,
            heard: None,
            recovered_at: None,
            blind: None,
            judging: None,
            dropped_at: None,
        }
    }

    /// What its incident is about.
    pub(crate) fn subject(instance: &str) -> Subject {
        Subject::Instance {
            instance: instance.to_owned(),
        }
    }

    /// Whether a word of this time changes nothing: it is read again, or among the last ones about an
    /// instance that left the configuration.
    pub(crate) fn ignores(&self, said: &Said<'_>) -> bool {
        let read_again = self
            .heard
            .as_ref()
            .is_some_and(|heard| heard.observed_at.duration_since(said.at) > READ_AGAIN);
        let last_words = self
            .dropped_at
            .is_some_and(|dropped_at| said.at.duration_since(dropped_at) < LAST_WORDS);
        read_again || last_words
    }

    /// Any word shows that it is watched, and where.
    fn note(&mut self, said: &Said<'_>) {
        self.region = Some(said.region.to_owned());
        self.dropped_at = None;
    }

    /// The poller saw all: what was blind is over, and what waits for this heartbeat is to be judged.
    pub(crate) fn swept(
        &mut self,
        swept: &Swept,
        said: &Said<'_>,
        incident: Option<Incident>,
        now: Timestamp,
    ) -> Told {
        self.note(said);
        // A server's clock that was set back does not take back what was seen.
        let seen_until = self.heard.as_ref().map_or(swept.seen_until, |heard| {
            heard.seen_until.max(swept.seen_until)
        });
        self.heard = Some(Heard {
            seen_until,
            next_by: swept.next_by,
            observed_at: said.at,
        });
        self.judging = Some(Heartbeat {
            region: said.region.to_owned(),
            seen_until,
            observed_at: said.at,
            traceparent: said.traceparent,
        });
        self.see(said, incident, now)
    }

    /// The poller says that it cannot see: at once, and once. What else it says until it sees again is
    /// what the incident's repeat says.
    pub(crate) fn failing(
        &mut self,
        failing: &Failing,
        said: &Said<'_>,
        incident: Option<Incident>,
        now: Timestamp,
    ) -> Told {
        self.note(said);
        let (since, reason) = (failing.since, failing.reason.as_str());
        self.go_blind(
            since,
            reason,
            Some(&failing.message),
            said.at,
            incident,
            now,
        )
    }

    /// The poller says that it sees again; the heartbeat follows.
    pub(crate) fn recovered(
        &mut self,
        said: &Said<'_>,
        incident: Option<Incident>,
        now: Timestamp,
    ) -> Told {
        self.note(said);
        self.recovered_at = Some(said.at);
        self.see(said, incident, now)
    }

    /// Nothing is heard of it, although the log is read to its end.
    pub(crate) fn overdue(
        &mut self,
        grace: SignedDuration,
        incident: Option<Incident>,
        now: Timestamp,
    ) -> Told {
        if self.due_at(grace).is_none_or(|due| now < due) {
            return Told::default();
        }
        let heard = self.heard.as_ref().map(|heard| heard.seen_until);
        let (since, reason) = match heard.max(self.recovered_at) {
            Some(last) => (last, "silent_poller"),
            None => (self.expected_since, "never_heard"),
        };
        self.go_blind(since, reason, None, now, incident, now)
    }

    /// The log is another one: something about it may be missing.
    pub(crate) fn log_lost(
        &mut self,
        lost: &LogLost,
        incident: Option<Incident>,
        now: Timestamp,
    ) -> Told {
        let (why, count) = (&lost.why, lost.count);
        let what = if lost.unread {
            format!("{count} events were cut away unread")
        } else {
            format!("the {count} events on it are read from its start")
        };
        let message = format!("the event log is not the one that was read ({why}): {what}");
        self.go_blind(lost.at, "log_lost", Some(&message), lost.at, incident, now)
    }

    /// What was known of it is gone, and is read again.
    pub(crate) fn ledger_lost(
        &mut self,
        lost: &LedgerLost,
        incident: Option<Incident>,
        now: Timestamp,
    ) -> Told {
        let LedgerLost { why, kept_as } = lost;
        let message = format!(
            "the notifier's ledger could not be read ({why}) and is kept as {kept_as}: the event log is \
             read from its start, and what was seen in the last 24 h is told, some of it again"
        );
        self.go_blind(now, "ledger_lost", Some(&message), now, incident, now)
    }

    /// When it is overdue, if nothing else is heard; none while it is blind already, or not watched.
    /// `grace` is max(`rules.blind.after`, 2 x `poll_every`).
    pub(crate) fn due_at(&self, grace: SignedDuration) -> Option<Timestamp> {
        if self.blind.is_some() || self.dropped_at.is_some() {
            return None;
        }
        let (by, grace) = match &self.heard {
            Some(heard) => (heard.next_by, grace),
            None => (self.expected_since, grace.max(FIRST_WORD)),
        };
        let by = self.recovered_at.map_or(by, |at| by.max(at));
        Some(by.saturating_add(grace).unwrap_or(Timestamp::MAX))
    }

    /// Kept apart from the incident: one that a person closed stays closed until the next time.
    fn go_blind(
        &mut self,
        since: Timestamp,
        reason: &str,
        message: Option<&str>,
        at: Timestamp,
        incident: Option<Incident>,
        now: Timestamp,
    ) -> Told {
        let text = message.map_or_else(|| unheard(reason).to_owned(), str::to_owned);
        let begun = self.blind.as_ref().map(|blind| blind.since);
        let since = begun.unwrap_or(since);
        let clock = summary::clock(since, at);
        let line = format!(
            "cannot see {} since {clock}: {reason}: {text}",
            self.instance
        );
        self.blind = Some(Blindness {
            since,
            reason: reason.to_owned(),
        });
        if begun.is_none() {
            let about = About {
                rule: Rule::Blind,
                subject: Self::subject(&self.instance),
                instance: &self.instance,
                region: self.region.as_deref(),
                reason,
                message: Some(text),
                since,
                summary: line,
            };
            return notice::begin(incident, about, at, None, now);
        }
        let renewed = incident.filter(Incident::is_open).and_then(|mut incident| {
            let notice = incident.notice.as_mut()?;
            reason.clone_into(&mut notice.reason);
            (notice.message, notice.summary) = (Some(text), line);
            Some(incident)
        });
        Told {
            incident: renewed,
            entry: None,
        }
    }

    fn see(&mut self, said: &Said<'_>, incident: Option<Incident>, now: Timestamp) -> Told {
        let Some(blind) = self.blind.take() else {
            return Told::default();
        };
        let lasted = summary::spoken(said.at.duration_since(blind.since));
        let text = format!("sees {} again, after {lasted}", self.instance);
        notice::end(incident, ClosedBy::Seen, text, said.at, now)
    }
}

fn unheard(reason: &str) -> &'static str {
    if reason == "never_heard" {
        "nothing was ever heard of it"
    } else {
        "nothing is heard of its poller"
    }
}
