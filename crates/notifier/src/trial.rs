//! What one event would come to, for `syncbell route test` and the `tests` of a configuration. Pure.
//!
//! In: an event or a sync task, and for how long it remains so; the configuration. Out: which rules it breaks,
//! and who would be told by which route. Nothing is known before it, as in an empty ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use syncbell_config::{Instance, Receiver, Route, RuleSwitches};
use syncbell_event::{Envelope, Event, EventId, Kind, Phase, Source, SyncTask};

use crate::decide::timers::{self, Armed, TimerChange};
use crate::decide::watch::{Said, Watch};
use crate::decide::{Decision, Heartbeat, Observation, Rule, View, decide};
use crate::delivery::Entry;
use crate::group;
use crate::setup::Setup;

/// A configuration to try events on.
pub struct Trial {
    setup: Setup,
    /// The instance of a task that does not name one.
    instance: String,
}

/// An event, or a task as if it had just changed.
#[derive(Clone, Debug)]
pub enum Tried {
    /// As it travels.
    Event(Box<Envelope>),
    /// As it stands in an event's `after`.
    Task(Box<SyncTask>),
}

/// One condition that would be told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The rule that is broken.
    pub rule: String,
    /// How grave.
    pub severity: &'static str,
    /// One line for people.
    pub summary: String,
    /// What the rule gives.
    pub labels: BTreeMap<String, String>,
    /// Who is told, in the order of the routes.
    pub told: Vec<ToldBy>,
}

/// A receiver, and the route that leads to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToldBy {
    /// Its place in the configuration.
    pub route: String,
    /// The receiver's name.
    pub receiver: String,
    /// What it is grouped by; none: it is told by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<BTreeMap<String, String>>,
    /// It waits until then, at the time of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mute_until: Option<Timestamp>,
}

impl Tried {
    /// From JSON: what has a `specversion` is an event, anything else a task. The error says what is wrong.
    pub fn read(json: &Value) -> Result<Self, String> {
        if json.get("specversion").is_some() {
            let event = Envelope::decode(json.to_string().as_bytes());
            return event
                .map(Box::new)
                .map(Self::Event)
                .map_err(|error| error.to_string());
        }
        let task = serde_json::from_value(json.clone());
        task.map(Box::new)
            .map(Self::Task)
            .map_err(|error| format!("it is neither an event nor a sync task: {error}"))
    }
}

impl Trial {
    /// Of the checked configuration.
    pub fn new(
        route: &Route,
        receivers: &[Receiver],
        rules: &RuleSwitches,
        instances: &[Instance],
    ) -> Self {
        let instance = instances.first().map(|instance| instance.id.clone());
        Self {
            setup: Setup::new(route, receivers, rules, instances),
            instance: instance.unwrap_or_default(),
        }
    }

    /// What would be told of `tried`, if it came `at` that time (an event has its own) and remained so for
    /// `after`, in the order in which it would be told.
    pub fn of(&self, tried: Tried, after: Duration, at: Timestamp) -> Vec<Verdict> {
        let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
        let (told, at) = match tried {
            Tried::Task(task) => {
                let from = task.from.as_ref().and_then(|from| from.instance_id.clone());
                let seen = Observation {
                    event_id: EventId("trial".to_owned()),
                    kind: Kind::Updated,
                    instance: from.unwrap_or_else(|| self.instance.clone()),
                    observed_at: at,
                    task: *task,
                    was_final: false,
                    detail: None,
                    traceparent: None,
                };
                (self.task(&seen, after), at)
            }
            Tried::Event(event) => (self.event(*event, after), at),
        };
        told.iter().map(|entry| self.verdict(entry, at)).collect()
    }

    fn event(&self, envelope: Envelope, after: SignedDuration) -> Vec<Entry> {
        let (at, source) = (envelope.time, envelope.source);
        match envelope.event {
            Event::Task { kind, data } => {
                let before = data.before.as_ref();
                let was_final = before.is_some_and(|task| task.status.phase() == Phase::Final);
                let Some(task) = data.after.or(data.before) else {
                    return Vec::new();
                };
                let seen = Observation {
                    event_id: envelope.id,
                    kind,
                    instance: source.instance,
                    observed_at: at,
                    task,
                    was_final,
                    detail: data.detail,
                    traceparent: None,
                };
                self.task(&seen, after)
            }
            Event::Failing(failing) if self.setup.rules.blind.is_some() => {
                let Source { region, instance } = &source;
                let said = Said {
                    region,
                    at,
                    traceparent: None,
                };
                let told = Watch::new(instance, true, at).failing(&failing, &said, None, at);
                told.marked(&self.setup.rules).entry.into_iter().collect()
            }
            Event::Failing(_) | Event::Swept(_) | Event::Recovered(_) => Vec::new(),
        }
    }

    /// What is told of a task at once, and at the heartbeat that is `after` later.
    fn task(&self, seen: &Observation, after: SignedDuration) -> Vec<Entry> {
        let rules = &self.setup.rules;
        let now = seen.observed_at;
        let mut known = View::default();
        let Decision { timers, told, .. } =
            keep(&mut known, decide(seen, View::default(), rules, now));
        let mut all = told;
        let heartbeat = |armed: &Armed| Heartbeat {
            region: String::new(),
            seen_until: armed.since.saturating_add(after).unwrap_or(Timestamp::MAX),
            observed_at: now,
            traceparent: None,
        };
        let waits_for = |change: &TimerChange, rule: Rule| match (change, rule) {
            (TimerChange::Hold(held, _), Rule::Own(name)) => held.rule == name,
            (TimerChange::Wait(..), Rule::Stuck) => true,
            _ => false,
        };
        for (rule, limit) in rules.timed() {
            let waiting = timers.iter().find(|change| waits_for(change, rule));
            if let Some(TimerChange::Hold(_, armed) | TimerChange::Wait(_, armed)) = waiting
                && limit <= after
            {
                let view = known.clone();
                let decision = timers::remained(armed, view, rules, &heartbeat(armed), now);
                all.extend(keep(&mut known, decision).told);
            }
        }
        for change in &timers {
            if let TimerChange::Ended(armed) = change {
                let view = known.clone();
                let decision = timers::slow(armed, view, rules, &heartbeat(armed), now);
                all.extend(keep(&mut known, decision).told);
            }
        }
        all
    }

    fn verdict(&self, entry: &Entry, at: Timestamp) -> Verdict {
        let told = self
            .setup
            .routes
            .of(entry)
            .into_iter()
            .map(|recipient| ToldBy {
                route: recipient.path.clone(),
                receiver: recipient.name.clone(),
                group: recipient
                    .policy
                    .group_by
                    .as_ref()
                    .map(|by| group::labels(by, entry)),
                mute_until: recipient.hours.mute_until(at),
            });
        Verdict {
            rule: entry.item.rule.clone(),
            severity: entry.item.severity.as_str(),
            summary: entry.item.summary.clone(),
            labels: entry.item.labels.clone(),
            told: told.collect(),
        }
    }
}

/// What the ledger would do with `decision`.
fn keep(known: &mut View, decision: Decision) -> Decision {
    if decision.task.is_some() {
        known.task.clone_from(&decision.task);
    }
    if let Some(subject) = &decision.subject {
        known.subject = subject.clone();
    }
    for incident in &decision.incidents {
        known.incidents.retain(|other| other.id != incident.id);
        known.incidents.push(incident.clone());
    }
    decision
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn trial(rest: &str) -> Trial {
        let text = format!(
            "instances: [{{id: cri-a, region: cn-shanghai}}]\n\
             receivers: [{{name: ops, webhook: {{url: 'http://x'}}}}, {{name: dba, webhook: {{url: 'http://x'}}}}]\n\
             {rest}"
        );
        let read = syncbell_config::parse(&text, "x", Path::new("."), &|_| None);
        let config = read.unwrap_or_else(|problems| panic!("{problems}"));
        Trial::new(
            &config.route,
            &config.receivers,
            &config.rules,
            &config.instances,
        )
    }

    const ROUTES: &str = "
windows: [{name: nights, times: ['22:00-07:00']}]
route:
  receivers: [ops]
  routes:
    - {match: [rule=waits], receivers: [dba], mute: [nights]}
    - {match: ['labels.team=core'], receivers: [dba, ops], group_by: [batch_id]}
rules:
  slow: {enabled: true}
  failed: {labels: {team: core}}
  own: [{name: waits, match: [task_status=PENDING], for: 30m, severity: critical}]
";

    fn verdicts(json: &Value, hours: u64) -> Vec<String> {
        let at = "2026-11-27T23:00:00Z".parse().unwrap();
        let tried = Tried::read(json).unwrap();
        let verdicts = trial(ROUTES).of(tried, Duration::from_hours(hours), at);
        let line = |verdict: &Verdict| {
            let told = verdict.told.iter().map(|told| {
                let group = told.group.as_ref().map(|group| format!(" {group:?}"));
                let mute = told.mute_until.map(|at| format!(" mute until {at}"));
                let (group, mute) = (group.unwrap_or_default(), mute.unwrap_or_default());
                format!("; {} by {}{group}{mute}", told.receiver, told.route)
            });
            format!(
                "{} {}{}",
                verdict.severity,
                verdict.rule,
                told.collect::<String>()
            )
        };
        verdicts.iter().map(line).collect()
    }

    #[test]
    fn a_task_is_judged_as_the_notifier_would() {
        let failed = serde_json::json!({"task_id": "a", "status": "ERROR", "batch_id": "b-1"});
        let by = "{\"batch_id\": \"b-1\"}";
        let expected =
            format!("error failed; dba by route.routes[1] {by}; ops by route.routes[1] {by}");
        assert_eq!(verdicts(&failed, 0), [expected]);
        let waits = serde_json::json!({"task_id": "a", "status": "PENDING"});
        assert!(verdicts(&waits, 0).is_empty());
        let expected = "critical waits; dba by route.routes[0] mute until 2026-11-28T07:00:00Z";
        assert_eq!(verdicts(&waits, 1), [expected]);
        assert_eq!(verdicts(&waits, 3), [expected], "stuck is the lesser one");
        let copies = serde_json::json!({"task_id": "a", "status": "SYNCHRONIZING"});
        assert_eq!(verdicts(&copies, 3), ["warning stuck; ops by route"]);
        let slow = serde_json::json!({
            "task_id": "a", "status": "SUCCESS",
            "created_at": "2026-11-27T01:00:00Z", "modified_at": "2026-11-27T04:00:00Z",
        });
        assert_eq!(verdicts(&slow, 0), ["info slow; ops by route"]);
    }

    #[test]
    fn events_are_told_apart_from_tasks_and_what_is_neither_is_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../event/test_data/v1");
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
        };
        assert_eq!(
            verdicts(&read("failing.json"), 0),
            ["critical blind; ops by route"]
        );
        assert!(verdicts(&read("swept.json"), 0).is_empty());
        assert!(
            verdicts(&read("snapshot-minimal.json"), 0).is_empty(),
            "a snapshot tells nothing"
        );
        let updated = verdicts(&read("updated.json"), 0);
        assert_eq!(updated.len(), 1, "{updated:?}");
        let wrong = Tried::read(&serde_json::json!({"status": "ERROR"})).unwrap_err();
        assert!(wrong.contains("missing field `task_id`"), "{wrong}");
        let wrong = Tried::read(&serde_json::json!({"specversion": "1.0"})).unwrap_err();
        assert!(wrong.contains("could not decode the event"), "{wrong}");
    }
}
