//! Conditions that no task is the cause of: how one begins, is told, and ends. Pure.

use jiff::Timestamp;
use syncbell_event::{AlertItem, AlertStatus, EventId, TraceParent, digest_id};

use super::condition::{Rule, Rules};
use super::flap;
use super::incident::{ClosedBy, Incident, Notice, Subject};
use super::silent::Quiet;
use crate::delivery::Entry;

/// The incident as it stands next, if it changes, and what is told of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) incident: Option<Incident>,
    pub(crate) entry: Option<Entry>,
}

impl Told {
    /// What begins carries what its rule says now; what ends, what it began with. What flaps says so.
    pub(crate) fn marked(&self, rules: &Rules) -> Self {
        let mut told = self.clone();
        if let (Some(incident), Some(entry)) = (&mut told.incident, &mut told.entry) {
            if entry.fires() {
                incident.marks = rules.marks(incident.rule).cloned();
                entry.item.severity = incident.severity();
                (entry.item.labels, entry.item.annotations) = incident.texts();
            }
            flap::note(incident, entry, rules.flapping);
        }
        told
    }
}

/// What begins.
pub(crate) struct About<'a> {
    pub(crate) rule: Rule,
    pub(crate) subject: Subject,
    pub(crate) instance: &'a str,
    pub(crate) region: Option<&'a str>,
    pub(crate) reason: &'a str,
    pub(crate) message: Option<String>,
    pub(crate) since: Timestamp,
    pub(crate) summary: String,
}

/// Opens the incident, and tells it. Its event id is over (rule, instance, subject, since): whoever finds
/// it, however often, finds one.
pub(crate) fn begin(
    known: Option<Incident>,
    about: About<'_>,
    observed_at: Timestamp,
    traceparent: Option<TraceParent>,
    now: Timestamp,
) -> Told {
    let mut incident = match known {
        Some(known) if known.is_open() => known,
        known => Incident {
            turns: known.map(|before| before.turns).unwrap_or_default(),
            ..Incident::open(about.rule, about.subject, about.instance, now)
        },
    };
    let since = about.since.to_string();
    let parts = ["notice", &incident.id, about.instance, &since];
    incident.notice = Some(Notice {
        reason: about.reason.to_owned(),
        message: about.message,
        since: about.since,
        event_id: EventId(digest_id(parts.map(Some))),
        region: about.region.map(str::to_owned),
        summary: about.summary,
    });
    incident.occurrences = incident.occurrences.saturating_add(1);
    incident.changed_at = now;
    let mut entry = entry(&incident, AlertStatus::Firing);
    if let Some(entry) = &mut entry {
        entry.observed_at = observed_at;
        entry.traceparent = traceparent;
    }
    Told {
        incident: Some(incident),
        entry,
    }
}

/// Ends the incident and tells so, unless somebody closed it before: that was the all-clear.
pub(crate) fn end(
    known: Option<Incident>,
    why: ClosedBy,
    summary: String,
    observed_at: Timestamp,
    now: Timestamp,
) -> Told {
    let Some(mut incident) = known.filter(Incident::is_open) else {
        return Told::default();
    };
    incident.close(why, now);
    let mut entry = entry(&incident, AlertStatus::Resolved);
    if let Some(entry) = &mut entry {
        entry.observed_at = observed_at;
        entry.item.summary = summary;
    }
    Told {
        incident: Some(incident),
        entry,
    }
}

/// What the incident's notice says.
pub(crate) fn entry(incident: &Incident, status: AlertStatus) -> Option<Entry> {
    let notice = incident.notice.as_ref()?;
    let (sync_rule_id, repo) = match &incident.subject {
        Subject::Quiet {
            quiet: Quiet::SyncRule(id),
            ..
        } => (Some(id.clone()), None),
        Subject::Quiet { quiet, .. } => (None, Some(quiet.name())),
        _ => (None, None),
    };
    let (labels, annotations) = incident.texts();
    Some(Entry {
        item: AlertItem {
            incident: incident.id.clone(),
            rule: incident.rule.as_str().to_owned(),
            severity: incident.severity(),
            status,
            reason: notice.reason.clone(),
            since: notice.since,
            summary: notice.summary.clone(),
            instance: Some(incident.instance.clone()),
            region: notice.region.clone(),
            sync_rule_id,
            repo,
            task: None,
            resolved_by: None,
            detail: None,
            labels,
            annotations,
        },
        event_id: notice.event_id.clone(),
        message: notice.message.clone(),
        occurrence: 1,
        history: Vec::new(),
        instance: incident.instance.clone(),
        observed_at: incident.changed_at,
        flapping: false,
        traceparent: None,
    })
}
