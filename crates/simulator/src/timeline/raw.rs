//! The file's shape. Unknown keys are refused by serde; what may be wrong otherwise keeps its place.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use crate::action::Action;
use crate::bulk::StaticLoad;
use crate::fault::Fault;
use crate::instance::NewInstance;
use crate::quota::Quota;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Timeline {
    pub(super) instances: Vec<NewInstance>,
    pub(super) rules: Vec<Rule>,
    pub(super) load: Option<Spanned<StaticLoad>>,
    pub(super) quota: Option<Quota>,
    pub(super) retention: Option<Time>,
    pub(super) tasks: Vec<Task>,
    pub(super) batches: Vec<Batch>,
    pub(super) faults: Vec<TimedFault>,
    pub(super) discovery: Vec<Spanned<Discovery>>,
    pub(super) repeat: Option<Repeat>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) instance: Option<Spanned<String>>,
    pub(super) namespace: Option<String>,
    pub(super) repo: Option<String>,
    pub(super) to: Option<End>,
    pub(super) scope: Option<String>,
    pub(super) trigger: Option<String>,
}

/// Where images are copied to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) instance: String,
    pub(super) region: String,
}

/// What tasks and batches have in common.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    pub(super) id: Option<Spanned<String>>,
    pub(super) image: Spanned<String>,
    pub(super) instance: Option<Spanned<String>>,
    pub(super) to: Option<End>,
    pub(super) rule: Option<String>,
    pub(super) batch: Option<String>,
    pub(super) trigger: Option<String>,
    pub(super) priority: Option<i64>,
    /// It is there at first.
    pub(super) age: Option<Time>,
    pub(super) took: Option<Time>,
    pub(super) status: Option<Spanned<String>>,
    pub(super) issue: Option<String>,
    #[serde(default)]
    pub(super) steps: Vec<Spanned<TaskStep>>,
    pub(super) repeat: Option<TaskRepeat>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskStep {
    pub(super) at: Time,
    pub(super) status: Option<Spanned<String>>,
    pub(super) issue: Option<String>,
    pub(super) progress: Option<f64>,
    pub(super) synced_size: Option<u64>,
    pub(super) gone: Option<Gone>,
    pub(super) note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Gone {
    /// Its id still finds it.
    FromTheList,
    Wholly,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    pub(super) id: Spanned<String>,
    pub(super) image: Spanned<String>,
    pub(super) tasks: Spanned<usize>,
    pub(super) at: Time,
    pub(super) instance: Option<Spanned<String>>,
    pub(super) to: Option<End>,
    pub(super) rule: Option<String>,
    #[serde(default)]
    pub(super) steps: Vec<BatchStep>,
    pub(super) note: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchStep {
    pub(super) at: Time,
    pub(super) status: Spanned<String>,
    pub(super) issue: Option<String>,
    pub(super) tasks: Option<usize>,
    pub(super) note: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimedFault {
    pub(super) from: Spanned<Time>,
    pub(super) until: Option<Time>,
    pub(super) calls: Option<u32>,
    pub(super) only: Option<Action>,
    pub(super) instance: Option<String>,
    pub(super) fault: Fault,
    pub(super) note: Option<String>,
}

/// Exactly one of `add`, `status` and `remove`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Discovery {
    pub(super) at: Time,
    pub(super) add: Option<NewInstance>,
    pub(super) status: Option<InstanceStatus>,
    pub(super) remove: Option<Spanned<String>>,
    pub(super) note: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceStatus {
    pub(super) instance: Spanned<String>,
    pub(super) is: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repeat {
    pub(super) every: Spanned<Time>,
    pub(super) times: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskRepeat {
    pub(super) every: Time,
    pub(super) times: Spanned<u32>,
}

/// A duration as people write it: `500ms`, `30s`, `5m`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "expected a duration such as `500ms`, `30s`, `5m` or `1h30m`, found `{text}`"
            ))
        })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit_ms = match &rest[..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let part = Duration::from_millis(number.checked_mul(unit_ms)?);
        total = total.checked_add(part)?;
        rest = &rest[unit..];
    }
    // A century is longer than anybody waits; more would overflow clocks further on.
    (total <= Duration::from_hours(24 * 36_500)).then_some(total)
}
