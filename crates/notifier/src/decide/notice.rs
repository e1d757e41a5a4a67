//! Conditions that no task is the cause of: how one begins, is told, and ends. Pure.

use jiff::Timestamp;
use syncbell_event::{AlertItem, AlertStatus, EventId, TraceParent, digest_id};

use super::condition::Rule;
use super::incident::{ClosedBy, Incident, Notice, Subject};
use super::silent::Quiet;
use crate::delivery::Entry;

/// The incident as it stands next, if it changes, and what is told of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) incident: Option<Incident>,
    pub(crate) entry: Option<Entry>,
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
    let mut incident = known
        .filter(Incident::is_open)
        .unwrap_or_else(|| Incident::open(about.rule, about.subject, about.instance, now));
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
    Some(Entry {
        item: AlertItem {
            incident: incident.id.clone(),
            rule: incident.rule.as_str().to_owned(),
            severity: incident.rule.severity(),
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
            labels: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
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
