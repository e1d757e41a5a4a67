//! Compares what was to be told with what arrived, both ways.
//!
//! Pure. In: the ledger's entries, and what one receiver got. Out: what is missing, what nobody
//! asked for, and what came more than once under one id.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use syncbell_event::AlertStatus;

use crate::ledger::Told;

/// One entry of a message that arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Got {
    /// The task that the entry is about.
    pub task_id: String,
    /// The rule's name.
    pub rule: String,
    /// Whether it begins or ends.
    pub status: AlertStatus,
    /// The message's own id: `webhook-id`, Message-ID.
    pub id: String,
}

impl Got {
    /// The entries of an alert CloudEvent with the id `id`; those without a task are left out.
    pub fn of_alert(id: &str, alert: &Value) -> Vec<Self> {
        let entries = alert["data"]["alerts"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        entries
            .iter()
            .filter_map(|entry| {
                Some(Self {
                    task_id: entry["task"]["task_id"].as_str()?.to_owned(),
                    rule: entry["rule"].as_str()?.to_owned(),
                    status: match entry["status"].as_str()? {
                        "firing" => AlertStatus::Firing,
                        "resolved" => AlertStatus::Resolved,
                        _ => return None,
                    },
                    id: id.to_owned(),
                })
            })
            .collect()
    }
}

/// What differs. Empty vectors are what one wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Expected and not there.
    pub missing: Vec<Told>,
    /// There under an id of its own, and not expected (any more).
    pub unexpected: Vec<Got>,
    /// There again under the id of one that is counted: harmless after a crash, wrong in calm.
    pub repeated: Vec<Got>,
}

impl Comparison {
    /// Nothing missing and nothing unexpected: at least once.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }

    /// And nothing repeated: exactly once.
    pub fn is_exact(&self) -> bool {
        self.is_complete() && self.repeated.is_empty()
    }
}

/// One line a fault; `nothing differs` if there is none.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exact() {
            return f.write_str("nothing differs");
        }
        let mut lines = Vec::new();
        for told in &self.missing {
            let (rule, status) = (told.rule.as_str(), told.status.as_str());
            lines.push(format!("missing: {rule} {status} of task {}", told.task_id));
        }
        for (what, entries) in [
            ("unexpected", &self.unexpected),
            ("repeated", &self.repeated),
        ] {
            for Got {
                task_id,
                rule,
                status,
                id,
            } in entries
            {
                let status = status.as_str();
                lines.push(format!(
                    "{what}: {rule} {status} of task {task_id} in message {id}"
                ));
            }
        }
        f.write_str(&lines.join("\n"))
    }
}

/// Compares the expected entries with those that one receiver got.
///
/// Entries are the same by task, rule and status. For each, as many messages with ids of their own
/// must be there as certain entries are expected, and at most as many as there are entries at all.
pub fn compare(expected: &[Told], got: &[Got]) -> Comparison {
    let mut result = Comparison::default();
    let mut arrived: BTreeMap<(&str, &str, AlertStatus), Vec<&Got>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for entry in got {
        let key = (entry.task_id.as_str(), entry.rule.as_str(), entry.status);
        if ids.insert((key, entry.id.as_str())) {
            arrived.entry(key).or_default().push(entry);
        } else {
            result.repeated.push(entry.clone());
        }
    }
    let mut wanted: BTreeMap<(&str, &str, AlertStatus), Vec<&Told>> = BTreeMap::new();
    for told in expected {
        let key = (told.task_id.as_str(), told.rule.as_str(), told.status);
        wanted.entry(key).or_default().push(told);
    }
    for (key, told) in wanted {
        let arrived = arrived.remove(&key).unwrap_or_default();
        let certain: Vec<_> = told.iter().filter(|told| told.certain).collect();
        for &&missing in certain.iter().skip(arrived.len()) {
            result.missing.push(missing.clone());
        }
        result
            .unexpected
            .extend(arrived.into_iter().skip(told.len()).cloned());
    }
    result
        .unexpected
        .extend(arrived.into_values().flatten().cloned());
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::Rule;

    fn told(task_id: &str, status: AlertStatus, certain: bool) -> Told {
        Told {
            task_id: task_id.to_owned(),
            rule: Rule::Failed,
            status,
            visible_at: jiff::Timestamp::UNIX_EPOCH,
            served_at: None,
            resolved_by: None,
            certain,
        }
    }

    fn got(task_id: &str, status: AlertStatus, id: &str) -> Got {
        Got {
            task_id: task_id.into(),
            rule: "failed".into(),
            status,
            id: id.into(),
        }
    }

    const FIRING: AlertStatus = AlertStatus::Firing;
    const RESOLVED: AlertStatus = AlertStatus::Resolved;

    #[test]
    fn the_same_on_both_sides_is_exact_in_any_order() {
        let expected = [
            told("a", FIRING, true),
            told("a", RESOLVED, true),
            told("b", FIRING, true),
        ];
        let got = [
            got("b", FIRING, "1"),
            got("a", RESOLVED, "2"),
            got("a", FIRING, "3"),
        ];
        assert!(compare(&expected, &got).is_exact());
    }

    #[test]
    fn each_difference_is_named() {
        let expected = [
            told("a", FIRING, true),
            told("a", FIRING, true),
            told("b", FIRING, true),
        ];
        let got = [
            got("a", FIRING, "1"),
            got("a", FIRING, "1"),
            got("b", FIRING, "2"),
            got("b", FIRING, "3"),
            got("c", FIRING, "4"),
        ];
        let result = compare(&expected, &got);
        assert_eq!(result.missing, [told("a", FIRING, true)]);
        assert_eq!(result.repeated, [got[0].clone()]);
        assert_eq!(result.unexpected, [got[3].clone(), got[4].clone()]);
        assert_eq!(
            result.to_string(),
            "missing: failed firing of task a\n\
             unexpected: failed firing of task b in message 3\n\
             unexpected: failed firing of task c in message 4\n\
             repeated: failed firing of task a in message 1"
        );
    }

    #[test]
    fn what_is_not_certain_may_be_there_or_not() {
        let expected = [told("a", RESOLVED, false)];
        assert!(compare(&expected, &[]).is_exact());
        assert!(compare(&expected, &[got("a", RESOLVED, "1")]).is_exact());
        let twice = [got("a", RESOLVED, "1"), got("a", RESOLVED, "2")];
        assert_eq!(compare(&expected, &twice).unexpected, [twice[1].clone()]);
    }

    #[test]
    fn the_entries_of_an_alert_are_read() {
        let alert = json!({"data": {"alerts": [
            {"rule": "failed", "status": "firing", "task": {"task_id": "a"}},
            {"rule": "blind", "status": "firing"},
        ]}});
        assert_eq!(Got::of_alert("1", &alert), [got("a", FIRING, "1")]);
    }
}
