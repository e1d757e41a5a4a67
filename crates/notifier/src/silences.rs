//! Silences as people add, end and list them.
//!
//! In: who wants to hear what no more, until when and why. Out: a row (`silence.rs`), durable when the answer is given.
//!
//! Must never happen: a silence without an end; one of which nobody can say who wanted it, and why.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use syncbell_config::{MatchOp, parse_matcher};
use syncbell_event::digest_id;

use crate::decide::Rule;
use crate::draft::Draft;
use crate::hold::{HeldLine, Holder, Matchers};
use crate::run::Handle;
use crate::silence::{ENDED_LIMIT, SILENCES_LIMIT, Silence, all, record};
use crate::{Error, rows};

/// A longer one is one without an end.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);

const MATCHERS_LIMIT: usize = 32;
const TEXT_BYTES: usize = 1_024;

/// What is wanted; also the body of `POST /silences`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceWanted {
    /// `label=value`, `!=`, `=~`, `!~`; all must hold.
    #[serde(default)]
    pub matchers: Vec<String>,
    /// From then on; absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// Not any more then.
    pub ends_at: Timestamp,
    /// Who wants it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// It is meant to hold back everything.
    #[serde(default)]
    pub all: bool,
}

/// A silence in a list, with what it held back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SilenceRow {
    /// The silence itself.
    pub silence: Silence,
    /// `pending`, `active` or `expired`.
    pub state: String,
    /// Alerts that it held back.
    pub held: u64,
    /// Of them: told when it ended.
    pub told: u64,
    /// Of them: over before they could be told.
    pub over: u64,
    /// The last ones, the newest first.
    pub last: Vec<HeldLine>,
}

impl SilenceWanted {
    /// The silence that is wanted; the error says what is wrong with it.
    fn checked(self, now: Timestamp) -> Result<Silence, String> {
        let starts_at = self.starts_at.unwrap_or(now);
        if self.ends_at <= starts_at.max(now) {
            return Err("a silence ends after it begins, and after now".to_owned());
        }
        if self.ends_at.duration_since(now) > LONGEST {
            return Err("a silence ends within 366 days".to_owned());
        }
        for (what, text) in [("a reason", &self.reason), ("an author", &self.author)] {
            if text.trim().is_empty() || text.len() > TEXT_BYTES {
                return Err(format!(
                    "a silence has {what}, of at most {TEXT_BYTES} bytes"
                ));
            }
        }
        let too_long = |text: &String| text.len() > TEXT_BYTES;
        if self.matchers.len() > MATCHERS_LIMIT || self.matchers.iter().any(too_long) {
            return Err(format!(
                "a silence has at most {MATCHERS_LIMIT} matchers of at most {TEXT_BYTES} bytes"
            ));
        }
        let matchers = Matchers::parse(&self.matchers)?;
        if matchers.hold_for_nothing() && !self.all {
            return Err(
                "each of these matchers holds for an alert without the label, so that this may hold back everything: \
                 if that is meant, say `--all`"
                    .to_owned(),
            );
        }
        let times = [now, starts_at, self.ends_at].map(|at| at.to_string());
        let said = [self.author.as_str(), self.reason.as_str()];
        let parts = times.iter().map(String::as_str).chain(said);
        let parts = parts.chain(self.matchers.iter().map(String::as_str));
        Ok(Silence {
            id: digest_id(parts.map(Some)),
            matchers: self.matchers,
            starts_at,
            ends_at: self.ends_at,
            author: self.author,
            reason: self.reason,
            created_at: now,
            expired_at: None,
        })
    }
}

/// That matchers name rules that there are not, if they do: `own` are those that the configuration adds. Such a
/// silence stands all the same; the rule may be about to come.
pub fn unknown_rules(matchers: &[String], own: &[String]) -> Option<String> {
    let built_in = Rule::ALL.map(|rule| rule.as_str().to_owned());
    let known: Vec<&String> = built_in.iter().chain(own).collect();
    let parsed = matchers.iter().filter_map(|text| parse_matcher(text).ok());
    let exact = parsed.filter(|one| matches!(one.op, MatchOp::Equals | MatchOp::NotEquals));
    let of_rules = exact.filter(|one| one.label == "rule" && !one.value.is_empty());
    let unknown: Vec<String> = of_rules
        .filter(|one| !known.contains(&&one.value))
        .map(|one| format!("`{}`", one.value))
        .collect();
    let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
    (!unknown.is_empty()).then(|| {
        let (unknown, known) = (unknown.join(" and "), known.join(", "));
        format!("no rule is named {unknown}; there are {known}")
    })
}

/// Makes room among those that are over.
fn forget_oldest(
    draft: &mut Draft<'_>,
    silences: &[Silence],
    now: Timestamp,
) -> Result<(), syncbell_store::Error> {
    let mut ended: Vec<&Silence> = Vec::new();
    for silence in silences.iter().filter(|silence| silence.end() <= now) {
        if record(draft.reader, &silence.id)?.released {
            ended.push(silence);
        }
    }
    ended.sort_by_key(|silence| std::cmp::Reverse(silence.end()));
    for silence in ended.into_iter().skip(ENDED_LIMIT) {
        draft.delete(rows::mute(&silence.id));
        draft.delete(rows::hold_record(&Holder::Silence(silence.id.clone())));
    }
    Ok(())
}

impl Handle {
    /// Adds a silence; it is durable when this returns. [`Error::Refused`] says what is wrong with it.
    pub async fn add_silence(&self, wanted: SilenceWanted) -> Result<Silence, Error> {
        let added = self.ledger.patiently(move |draft, now| {
            let silence = match wanted.clone().checked(now) {
                Ok(silence) => silence,
                Err(what) => return Ok(Err(what)),
            };
            let silences = all(draft.reader)?;
            if silences.iter().filter(|one| now < one.end()).count() >= SILENCES_LIMIT {
                let what = format!("there are {SILENCES_LIMIT} silences already: expire some");
                return Ok(Err(what));
            }
            forget_oldest(draft, &silences, now)?;
            draft.put(rows::mute(&silence.id), &silence);
            Ok(Ok(silence))
        });
        let silence = added.await?.map_err(|what| Error::Refused { what })?;
        tracing::info!(silence = silence.id, author = silence.author, ends_at = %silence.ends_at, "silence added");
        self.wake_consumer();
        Ok(silence)
    }

    /// Ends a silence now; what it holds back is told. None if there is no such; one that is over stays as it is.
    pub async fn expire_silence(&self, id: &str) -> Result<Option<Silence>, Error> {
        let id = id.to_owned();
        let expired = self.ledger.patiently(move |draft, now| {
            let Some(mut silence) = draft.get::<Silence>(&rows::mute(&id))? else {
                return Ok(None);
            };
            if now < silence.end() {
                silence.expired_at = Some(now);
                draft.put(rows::mute(&id), &silence);
            }
            Ok(Some(silence))
        });
        let expired = expired.await?;
        if let Some(silence) = &expired {
            tracing::info!(silence = silence.id, "silence expired");
            self.wake_consumer();
        }
        Ok(expired)
    }

    /// The silences that go on or are to begin, and on demand those that are over, the last to end first.
    pub async fn silences(&self, expired: bool) -> Result<Vec<SilenceRow>, Error> {
        let now = Timestamp::now();
        let listed = self.ledger.store.read(move |reader| {
            let mut listed = Vec::new();
            for silence in all(reader)? {
                if expired || now < silence.end() {
                    let record = record(reader, &silence.id)?;
                    listed.push(SilenceRow {
                        state: silence.state(now).to_owned(),
                        silence,
                        held: record.held,
                        told: record.told,
                        over: record.over,
                        last: record.last.into(),
                    });
                }
            }
            Ok(listed)
        });
        let mut listed = listed.await?;
        listed.sort_by_key(|row| std::cmp::Reverse(row.silence.end()));
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T03:00:00Z".parse().unwrap()
    }

    fn wanted(matchers: &[&str], seconds: i64) -> SilenceWanted {
        SilenceWanted {
            matchers: matchers.iter().map(|text| (*text).to_owned()).collect(),
            starts_at: None,
            ends_at: now() + SignedDuration::from_secs(seconds),
            author: "ann".to_owned(),
            reason: "a move".to_owned(),
            all: false,
        }
    }

    #[test]
    fn a_rule_that_there_is_not_is_named_beside_those_that_there_are() {
        let unknown = |matchers: &[&str]| {
            let matchers: Vec<String> = matchers.iter().map(|text| (*text).to_owned()).collect();
            unknown_rules(&matchers, &["prod_waits".to_owned()])
        };
        for known in [
            "rule=failed",
            "rule!=prod_waits",
            "rule=~none.*",
            "from.repo=none",
        ] {
            assert_eq!(unknown(&[known]), None, "{known}");
        }
        let said = unknown(&["rule=team_waits", "rule=\"db_waits\"", "from.tag=v1"]).unwrap();
        assert!(
            said.starts_with(
                "no rule is named `team_waits` and `db_waits`; there are blind, failed, "
            ),
            "{said}"
        );
        assert!(said.ends_with(", slow, prod_waits"), "{said}");
    }

    #[test]
    fn what_is_no_silence_is_refused_by_name() {
        let one = ["rule=failed"];
        let later = |wanted: SilenceWanted, hours| SilenceWanted {
            starts_at: Some(now() + SignedDuration::from_hours(hours)),
            ..wanted
        };
        let long = "x".repeat(TEXT_BYTES + 1);
        let many = ["rule=failed"; MATCHERS_LIMIT + 1];
        let nobody = SilenceWanted {
            author: " ".to_owned(),
            ..wanted(&one, 60)
        };
        let no_reason = SilenceWanted {
            reason: String::new(),
            ..wanted(&one, 60)
        };
        for (wrong, what) in [
            (wanted(&one, 0), "ends after it begins"),
            (later(wanted(&one, 60), 1), "ends after it begins"),
            (wanted(&one, 24 * 3_600 * 367), "within 366 days"),
            (nobody, "an author"),
            (no_reason, "a reason"),
            (wanted(&["rule=faild"], 60), "did you mean `failed`"),
            (wanted(&["rule"], 60), "expected `label=value`"),
            (
                wanted(&[&format!("reason={long}")], 60),
                "at most 32 matchers",
            ),
            (wanted(&many, 60), "at most 32 matchers"),
            (wanted(&[], 60), "`--all`"),
            (wanted(&["from.namespace=~.*"], 60), "`--all`"),
            (
                wanted(&["from.namespace!=team-a", "rule=~.*"], 60),
                "`--all`",
            ),
        ] {
            let error = wrong.checked(now()).expect_err(what);
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_silence_of_everything_is_one_that_was_meant() {
        let all = SilenceWanted {
            all: true,
            ..wanted(&[], 60)
        };
        assert!(all.checked(now()).is_ok());
        assert!(
            wanted(&["rule=failed", "from.tag=~.*"], 60)
                .checked(now())
                .is_ok()
        );
    }

    #[test]
    fn it_is_pending_then_active_then_expired_and_may_be_expired_before() {
        let at = |seconds| now() + SignedDuration::from_secs(seconds);
        let wanted = SilenceWanted {
            starts_at: Some(at(10)),
            ..wanted(&["rule=failed"], 60)
        };
        let mut silence = wanted.checked(now()).unwrap();
        for (second, state) in [
            (0, "pending"),
            (10, "active"),
            (59, "active"),
            (60, "expired"),
        ] {
            assert_eq!(silence.state(at(second)), state);
        }
        silence.expired_at = Some(at(5));
        assert_eq!(silence.state(at(5)), "expired");
        assert_eq!(silence.state(at(20)), "expired");
    }
}
