//! Any JSON in any field of any operation's answer: rows are taken or counted, and none takes another with it.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use syncbell_acr::measure::{TASK_ID, answer};
use syncbell_acr::{Error, Operation};

const HEADERS: [(&str, &str); 1] = [("content-type", "application/json")];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from("true")),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[A-Za-z]{1,10}", inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// An object that has some of `names`, with anything in them.
fn any_of(names: &'static [&'static str]) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(prop::sample::select(names), any_json(), 0..names.len()).prop_map(
        |map| {
            map.into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        },
    )
}

const ENVELOPE: &[&str] = &[
    "RequestId",
    "requestId",
    "Code",
    "code",
    "Message",
    "PageNo",
    "PageSize",
    "TotalCount",
    "Other",
    "Progress",
    "SyncedSize",
    "LayerTasks",
    "AccessDeniedDetail",
    "accessDeniedDetail",
];

const ROW: &[&str] = &[
    "SyncTaskId",
    "TaskStatus",
    "TaskIssue",
    "CreateTime",
    "ModifedTime",
    "ImageFrom",
    "ImageTo",
    "Priority",
    "InstanceId",
    "InstanceName",
    "InstanceStatus",
    "RegionId",
    "Tags",
    "SyncRuleId",
    "SyncRuleName",
    "SyncScope",
    "LocalRepoName",
    "Other",
];

fn operation(name: &str) -> Operation {
    let found = Operation::ALL.into_iter().find(|one| one.name == name);
    found.expect("it is one of ours")
}

const LISTS: [(&str, &str, &str); 3] = [
    ("ListRepoSyncTask", "SyncTasks", "SyncTaskId"),
    ("ListInstance", "Instances", "InstanceId"),
    ("ListRepoSyncRule", "SyncRules", "SyncRuleId"),
];

proptest! {
    #[test]
    fn every_row_is_taken_or_counted(
        envelope in any_of(ENVELOPE),
        rows in prop::collection::vec(any_of(ROW).prop_map(Value::Object).boxed().prop_union(any_json().boxed()), 0..6),
    ) {
        for (name, list, id) in LISTS {
            let mut body = envelope.clone();
            let mut rows = rows.clone();
            rows.push(json!({id: "a well one"}));
            body.insert(list.to_owned(), Value::from(rows.clone()));
            body.remove("IsSuccess");
            let text = Value::Object(body).to_string();
            let read = answer(operation(name), 200, &HEADERS, text.as_bytes());
            let read = read.expect("it is a success with a list");
            prop_assert_eq!(read.n_rows, rows.len());
            prop_assert_eq!(read.n_taken + read.n_refused, read.n_rows);
            prop_assert!(read.n_taken >= 1, "the well one passes");
        }
    }

    #[test]
    fn a_task_alone_is_itself_or_malformed(mut body in any_of(ENVELOPE), fields in any_of(ROW)) {
        body.extend(fields);
        let mut known = body.clone();
        for body in [&mut body, &mut known] {
            body.remove("IsSuccess");
        }
        known.insert("SyncTaskId".to_owned(), TASK_ID.into());
        for body in [body, known] {
            let text = Value::Object(body).to_string();
            match answer(operation("GetRepoSyncTask"), 200, &HEADERS, text.as_bytes()) {
                Ok(read) => {
                    prop_assert_eq!(read.tasks.len(), 1);
                    prop_assert_eq!(read.tasks[0].task_id.as_str(), TASK_ID);
                    for name in ["RequestId", "Code", "Progress", "SyncedSize", "LayerTasks"] {
                        prop_assert!(!read.tasks[0].extra.contains_key(name), "{}", name);
                    }
                }
                Err(error) => prop_assert_eq!(error.class(), "malformed"),
            }
        }
    }

    #[test]
    fn a_refusal_is_one_short_line(status in 300u16..600, body in any_of(ENVELOPE), text in "(?s).{0,300}") {
        for body in [Value::Object(body).to_string(), text.clone(), format!("<Error><Code>{text}</Code></Error>")] {
            for operation in Operation::ALL {
                let refused = answer(operation, status, &HEADERS, body.as_bytes());
                match refused {
                    // Only of a task it can be said that there is none.
                    Ok(read) => prop_assert!(operation.name == "GetRepoSyncTask" && read.tasks.is_empty()),
                    Err(error) => {
                        let told = error.to_string();
                        prop_assert!(told.len() < 4_000 && !told.contains(char::is_control), "{}", told);
                        prop_assert!(Error::CLASSES.contains(&error.class()));
                    }
                }
            }
        }
    }
}
