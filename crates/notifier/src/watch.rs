//! The sight of instances, as rows: what the poller says of it, and what is overdue.
//!
//! In: watch events, the configuration at start, the wall clock; a draft. Out: rows in that draft, what is
//! told, and when each instance is to be looked at. Must never happen: an instance of the configuration
//! without a row that says since when it is waited for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use syncbell_event::{Failing, Swept};
use syncbell_store::Error;

use crate::begin::LedgerLost;
use crate::decide::watch::{LogLost, Said, Watch};
use crate::decide::{ClosedBy, Incident, Name, Rule, Silence, Subject, Told};
use crate::done::Done;
use crate::draft::Draft;
use crate::rows;
use crate::setup::Setup;
use crate::tell;

/// Instances and silences that are read at once; more than anybody configures.
const ROWS_LIMIT: usize = 100_000;

/// What the poller says of its own sight.
pub(crate) enum Word {
    Swept(Swept),
    Failing(Failing),
    Recovered,
}

/// The poller said `word` about `instance`. True if a heartbeat is now to be judged.
pub(crate) fn said(
    draft: &mut Draft<'_>,
    setup: &Setup,
    instance: &str,
    word: &Word,
    said: &Said<'_>,
    now: Timestamp,
    done: &mut Done,
) -> Result<bool, Error> {
    let known = draft.get::<Watch>(&rows::watch(instance))?;
    let mut watch = known.unwrap_or_else(|| Watch::new(instance, false, now));
    if watch.ignores(said) {
        return Ok(false);
    }
    let incident = incident_of(draft, Rule::Blind, &Watch::subject(instance))?;
    let told = match word {
        Word::Swept(swept) => watch.swept(swept, said, incident, now),
        Word::Failing(failing) if setup.rules.blind.is_some() => {
            watch.failing(failing, said, incident, now)
        }
        Word::Failing(_) => return Ok(false),
        Word::Recovered => watch.recovered(said, incident, now),
    };
    keep(draft, setup, &watch, done);
    tell(draft, setup, &told, now, done)?;
    Ok(watch.judging.is_some())
}

/// Nothing was heard of `instance` in time, and the log is read to its end.
pub(crate) fn overdue(
    draft: &mut Draft<'_>,
    setup: &Setup,
    instance: &str,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let known = draft.get::<Watch>(&rows::watch(instance))?;
    let (Some(mut watch), Some(grace)) = (known, setup.grace(instance)) else {
        done.watches.insert(instance.to_owned(), None);
        return Ok(());
    };
    let incident = incident_of(draft, Rule::Blind, &Watch::subject(instance))?;
    let told = watch.overdue(grace, incident, now);
    keep(draft, setup, &watch, done);
    tell(draft, setup, &told, now, done)
}

/// If the log turned out to be another one, each instance is blind until it is next seen.
pub(crate) fn log_lost(
    draft: &mut Draft<'_>,
    setup: &Setup,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let Some(lost) = draft.get::<LogLost>(rows::LOG_LOST)? else {
        return Ok(());
    };
    draft.delete(rows::LOG_LOST.to_vec());
    if setup.rules.blind.is_none() {
        return Ok(());
    }
    for mut watch in all::<Watch>(draft, rows::WATCHES)? {
        // Of one that was never heard of, nothing can be missing.
        if watch.dropped_at.is_none() && watch.heard.is_some() {
            let subject = Watch::subject(&watch.instance);
            let incident = incident_of(draft, Rule::Blind, &subject)?;
            let told = watch.log_lost(&lost, incident, now);
            keep(draft, setup, &watch, done);
            tell(draft, setup, &told, now, done)?;
        }
    }
    Ok(())
}

/// The ledger before this one was lost: each instance of the configuration is blind until it is next seen.
pub(crate) fn ledger_lost(
    draft: &mut Draft<'_>,
    setup: &Setup,
    lost: &LedgerLost,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    if setup.rules.blind.is_none() {
        return Ok(());
    }
    for mut watch in all::<Watch>(draft, rows::WATCHES)? {
        let subject = Watch::subject(&watch.instance);
        let incident = incident_of(draft, Rule::Blind, &subject)?;
        let told = watch.ledger_lost(lost, incident, now);
        keep(draft, setup, &watch, done);
        tell(draft, setup, &told, now, done)?;
    }
    Ok(())
}

/// What is found at start.
pub(crate) struct Registered {
    /// When each instance is to be looked at.
    pub(crate) due: BTreeMap<String, Option<Timestamp>>,
    /// Instances with a heartbeat that is not wholly judged.
    pub(crate) judging: Vec<String>,
}

/// Brings the rows in line with the configuration: a new instance is waited for from now on, one that left
/// is not watched any more.
pub(crate) fn register(
    draft: &mut Draft<'_>,
    setup: &Setup,
    now: Timestamp,
) -> Result<Registered, Error> {
    for instance in setup.instances() {
        let key = rows::watch(instance);
        let known = draft.get::<Watch>(&key)?;
        let watch = match known {
            Some(watch) if watch.dropped_at.is_none() => Watch {
                configured: true,
                ..watch
            },
            _ => Watch::new(instance, true, now),
        };
        draft.put(key, &watch);
    }
    for silence in all::<Silence>(draft, rows::SILENCES)? {
        if !setup.quiet(&silence.instance).contains(&silence.quiet) {
            draft.delete(rows::silence(&silence.instance, &silence.quiet));
            unwatch(draft, Rule::Silent, &silence.subject(), now)?;
        }
    }
    leave_rules(draft, setup, now)?;
    let (mut due, mut judging) = (BTreeMap::new(), Vec::new());
    for mut watch in all::<Watch>(draft, rows::WATCHES)? {
        if watch.configured && !setup.names(&watch.instance) {
            watch = Watch {
                dropped_at: Some(now),
                ..Watch::new(&watch.instance, false, now)
            };
            draft.put(rows::watch(&watch.instance), &watch);
            unwatch(draft, Rule::Blind, &Watch::subject(&watch.instance), now)?;
        }
        let grace = setup.grace(&watch.instance);
        due.insert(
            watch.instance.clone(),
            grace.and_then(|grace| watch.due_at(grace)),
        );
        if watch.judging.is_some() {
            judging.push(watch.instance);
        }
    }
    Ok(Registered { due, judging })
}

/// Closes what rules raised that left the configuration, and forgets what waits for them.
fn leave_rules(draft: &mut Draft<'_>, setup: &Setup, now: Timestamp) -> Result<(), Error> {
    let names: Vec<Name> = setup.rules.own.iter().map(|own| own.name).collect();
    let before: Vec<Name> = draft.get(rows::OWN_RULES)?.unwrap_or_default();
    if names == before {
        return Ok(());
    }
    draft.put(rows::OWN_RULES.to_vec(), &names);
    let left: Vec<Name> = before
        .into_iter()
        .filter(|name| !names.contains(name))
        .collect();
    for name in &left {
        let prefix = rows::remaining_by(name.as_str());
        let mut until = prefix.clone();
        until.push(b'g');
        for key in draft.keys(&prefix, &until, ROWS_LIMIT)? {
            draft.delete(key);
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    for mut incident in all::<Incident>(draft, rows::INCIDENTS)? {
        let has_left = matches!(incident.rule, Rule::Own(name) if left.contains(&name));
        if has_left && incident.is_open() {
            incident.close(ClosedBy::Unwatched, now);
            draft.put_incident(&incident);
        }
    }
    Ok(())
}

/// Closes what nobody wants to know any more; that is no all-clear.
fn unwatch(
    draft: &mut Draft<'_>,
    rule: Rule,
    subject: &Subject,
    now: Timestamp,
) -> Result<(), Error> {
    let known = incident_of(draft, rule, subject)?;
    if let Some(mut incident) = known.filter(Incident::is_open) {
        incident.close(ClosedBy::Unwatched, now);
        draft.put_incident(&incident);
    }
    Ok(())
}

/// Every row under `prefix`, with this turn's changes.
fn all<T: serde::de::DeserializeOwned>(draft: &Draft<'_>, prefix: &[u8]) -> Result<Vec<T>, Error> {
    let mut until = prefix.to_vec();
    until.push(0xFF);
    let mut found = Vec::new();
    for key in draft.keys(prefix, &until, ROWS_LIMIT)? {
        found.extend(draft.get(&key)?);
    }
    Ok(found)
}

pub(crate) fn incident_of(
    draft: &Draft<'_>,
    rule: Rule,
    subject: &Subject,
) -> Result<Option<Incident>, Error> {
    draft.get(&rows::incident(&subject.incident_id(rule)))
}

fn keep(draft: &mut Draft<'_>, setup: &Setup, watch: &Watch, done: &mut Done) {
    let grace = setup.grace(&watch.instance);
    let due_at = grace.and_then(|grace| watch.due_at(grace));
    done.watches.insert(watch.instance.clone(), due_at);
    draft.put(rows::watch(&watch.instance), watch);
}

/// Puts the incident, and tells what began or ended.
pub(crate) fn tell(
    draft: &mut Draft<'_>,
    setup: &Setup,
    told: &Told,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Error> {
    let told = told.marked(&setup.rules);
    if let Some(incident) = &told.incident {
        draft.put_incident(incident);
    }
    tell::tell(draft, setup, told.entry.as_slice(), now, done)
}
