//! One row of the answer → one task. Nothing is required but the id; nothing that came is dropped.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use syncbell_event::{Image, Status, SyncTask};

/// A row that is not a task. Its neighbours pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place on the page, from 0.
    pub index: usize,
    /// Its `SyncTaskId`, if it has one.
    pub task_id: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

/// Decodes the JSON text of the row at `index` of a page.
pub(crate) fn raw(index: usize, text: &str) -> Result<SyncTask, Refused> {
    if let Ok(value) = serde_json::from_str(text) {
        return row(index, value);
    }
    // No value holds it whole; its fields one by one say which is to blame.
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let value = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
    let task_id = fields.get("SyncTaskId").and_then(|raw| value(raw));
    let bad = fields.iter().find(|(_, raw)| value(raw).is_none());
    Err(Refused {
        index,
        task_id: task_id.and_then(|id| id.as_str().map(str::to_owned)),
        reason: match bad {
            Some((name, _)) => format!("{name} cannot be parsed"),
            None => "it cannot be parsed".to_owned(),
        },
    })
}

fn row(index: usize, row: Value) -> Result<SyncTask, Refused> {
    let Value::Object(mut fields) = row else {
        return Err(Refused {
            index,
            task_id: None,
            reason: "it is not an object".to_owned(),
        });
    };
    let task_id = text(&mut fields, "SyncTaskId");
    let id = task_id.clone().ok().flatten();
    let decoded = task_id.and_then(|id| match id {
        Some(id) => fields_of(id, fields),
        None => Err("it has no SyncTaskId".to_owned()),
    });
    decoded.map_err(|reason| Refused {
        index,
        task_id: id,
        reason,
    })
}

fn fields_of(task_id: String, mut fields: Map<String, Value>) -> Result<SyncTask, String> {
    let fields = &mut fields;
    // A row without a status is kept: an unknown status is open, and is looked at again.
    let status = Status::from(text(fields, "TaskStatus")?.unwrap_or_default());
    let mut task = SyncTask::new(task_id, status);
    task.batch_id = text(fields, "SyncBatchTaskId")?;
    task.sync_rule_id = text(fields, "SyncRuleId")?;
    task.issue = text(fields, "TaskIssue")?;
    task.trigger = text(fields, "TaskTrigger")?;
    task.priority = number(fields, "Priority")?;
    task.created_at = time(fields, "CreateTime")?;
    // The misspelt name is the documented one; newer SDKs declare both. The later one counts.
    task.modified_at = time(fields, "ModifedTime")?.max(time(fields, "ModifiedTime")?);
    let (from, more_of_from) = image(fields, "ImageFrom")?;
    let (to, more_of_to) = image(fields, "ImageTo")?;
    (task.from, task.to) = (from, to);
    task.cross_user = flag(fields, "CrossUser")?;
    task.custom_link = flag(fields, "CustomLink")?;
    task.link_id = text(fields, "LinkId")?;
    task.accelerated = flag(fields, "SyncTransAccelerate")?;
    let rest = std::mem::take(fields)
        .into_iter()
        .filter(|(_, value)| !value.is_null());
    task.extra = rest.collect();
    // What an image has beyond its known parts goes by the image's name.
    for (name, more) in [("ImageFrom", more_of_from), ("ImageTo", more_of_to)] {
        if !more.is_empty() {
            task.extra.insert(name.to_owned(), Value::Object(more));
        }
    }
    Ok(task)
}

/// Takes a field out; null is absent.
fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    fields.remove(name).filter(|value| !value.is_null())
}

/// A text; an empty one is absent, a number is its digits.
fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match take(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(format!("{name} is not a text")),
    }
}

fn number(fields: &mut Map<String, Value>, name: &str) -> Result<Option<i64>, String> {
    let wrong = || format!("{name} is not a whole number");
    match take(fields, name) {
        None => Ok(None),
        Some(Value::Number(number)) => number.as_i64().map(Some).ok_or_else(wrong),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}

/// Milliseconds since the epoch; 0 is absent.
fn time(fields: &mut Map<String, Value>, name: &str) -> Result<Option<Timestamp>, String> {
    match number(fields, name)? {
        None | Some(0) => Ok(None),
        Some(ms) => Timestamp::from_millisecond(ms)
            .ok()
            .filter(|time| *time > Timestamp::UNIX_EPOCH)
            .map(Some)
            .ok_or_else(|| format!("{name} is out of range: {ms}")),
    }
}

fn flag(fields: &mut Map<String, Value>, name: &str) -> Result<Option<bool>, String> {
    match take(fields, name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            "" => Ok(None),
            _ => Err(format!("{name} is neither true nor false")),
        },
        Some(_) => Err(format!("{name} is neither true nor false")),
    }
}

/// One end, and what it has beyond the parts that are known.
fn image(
    fields: &mut Map<String, Value>,
    name: &str,
) -> Result<(Option<Image>, Map<String, Value>), String> {
    match take(fields, name) {
        None => Ok((None, Map::new())),
        Some(Value::Object(mut parts)) => {
            let mut part = |key: &str| text(&mut parts, key).map_err(|why| format!("{name}.{why}"));
            let image = Image {
                region_id: part("RegionId")?,
                instance_id: part("InstanceId")?,
                namespace: part("RepoNamespaceName")?,
                repo: part("RepoName")?,
                tag: part("ImageTag")?,
            };
            parts.retain(|_, value| !value.is_null());
            Ok(((image != Image::default()).then_some(image), parts))
        }
        Some(_) => Err(format!("{name} is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_null_or_unknown_is_accepted_and_kept() {
        let task = row(
            0,
            json!({
                "SyncTaskId": "rst-1", "TaskStatus": "PAUSED", "TaskIssue": "", "Priority": "3",
                "ModifedTime": 1_572_839_133_000_i64, "ModifiedTime": 1_572_839_134_000_i64,
                "CreateTime": null, "ImageFrom": {}, "ImageTo": null, "NewThing": [1], "Gone": null,
            }),
        )
        .unwrap();
        assert_eq!(task.status, Status::Unknown("PAUSED".to_owned()));
        assert_eq!(
            (task.issue, task.priority, task.created_at),
            (None, Some(3), None)
        );
        assert_eq!(
            task.modified_at.unwrap().as_millisecond(),
            1_572_839_134_000
        );
        assert_eq!((task.from, task.to), (None, None));
        assert_eq!(
            task.extra.into_iter().collect::<Vec<_>>(),
            [("NewThing".into(), json!([1]))]
        );
    }

    #[test]
    fn a_malformed_row_is_refused_by_name() {
        let reason = |value| row(7, value).unwrap_err().reason;
        assert_eq!(
            reason(json!({"TaskStatus": "ERROR"})),
            "it has no SyncTaskId"
        );
        assert_eq!(reason(json!(["x"])), "it is not an object");
        assert_eq!(
            reason(json!({"SyncTaskId": {}})),
            "SyncTaskId is not a text"
        );
        let bad = row(7, json!({"SyncTaskId": "a", "CreateTime": "soon"})).unwrap_err();
        assert_eq!((bad.index, bad.task_id.as_deref()), (7, Some("a")));
        assert_eq!(bad.reason, "CreateTime is not a whole number");
        let far = json!({"SyncTaskId": "a", "CreateTime": i64::MAX});
        assert!(reason(far).starts_with("CreateTime is out of range"));
        let image = json!({"SyncTaskId": "a", "ImageTo": {"ImageTag": []}});
        assert_eq!(reason(image), "ImageTo.ImageTag is not a text");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[A-Za-z]{1,10}", inner, 0..4)
                    .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_row_is_a_task_or_refused_and_never_a_panic(
            values in prop::collection::vec(any_json(), 16), whole in any_json()
        ) {
            let names = [
                "SyncTaskId", "TaskStatus", "SyncBatchTaskId", "SyncRuleId", "TaskIssue", "Priority",
                "TaskTrigger", "CreateTime", "ModifedTime", "ModifiedTime", "ImageFrom", "ImageTo",
                "CrossUser", "CustomLink", "LinkId", "Other",
            ];
            let fields: Map<String, Value> =
                names.iter().map(|name| (*name).to_owned()).zip(values).collect();
            for value in [Value::Object(fields), whole] {
                if let Err(refused) = row(0, value) {
                    prop_assert!(!refused.reason.is_empty());
                }
            }
        }
    }
}
