//! What the poller knows of tasks, for people: `GET /poller/tasks`, and the same without a poller.
//!
//! In: rows of the store. Out: one page of them, the newest first. Must never happen: an answer without a
//! bound; two questions at a time that read everything.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use syncbell_event::{Image, SyncTask};
use syncbell_store::{Reader, Store};

use crate::row::{Row, task_prefix};
use crate::{Error, Status};

/// Rows of a page, unless asked otherwise, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// Rows that are read at once; between two such reads others can write.
const CHUNK_ROWS: usize = 4_096;

/// Which tasks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TasksAsked {
    /// Only of this instance.
    pub instance: Option<String>,
    /// Only with this status, as the vendor writes it (`ERROR`).
    pub status: Option<String>,
    /// So many at most; 100 unless said, 1000 at most.
    pub limit: Option<usize>,
    /// The `next` of the page before.
    pub after: Option<String>,
}

/// One page.
#[derive(Clone, Debug, Serialize)]
pub struct KnownTasks {
    /// The last created first.
    pub tasks: Vec<KnownTask>,
    /// Where the next page begins; absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One task as it was last seen.
#[derive(Clone, Debug, Serialize)]
pub struct KnownTask {
    /// The instance that lists it.
    pub instance: String,
    /// Its id.
    pub task_id: String,
    /// `TaskStatus`.
    pub status: String,
    /// `TaskIssue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
    /// By the server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// By the server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<Timestamp>,
    /// When that was first seen, by our clock.
    pub observed_at: Timestamp,
    /// Absent too where the task is over and went well: of those only id, status and times are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Image>,
    /// As `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Image>,
    /// It is listed no more, since then by our clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone_since: Option<Timestamp>,
    /// It was open when it went.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub vanished: bool,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// The caller's mistake.
    #[error("`after` is not the `next` of another page")]
    NoSuchPlace,
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Where a task stands in the order of pages: a later one has been created earlier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Milliseconds before the end of time; tasks without one come last.
    age: i64,
    key: Vec<u8>,
}

impl Place {
    fn of(task: &SyncTask, key: &[u8]) -> Self {
        let created_ms = task.created_at.map(Timestamp::as_millisecond);
        Self {
            age: created_ms.map_or(i64::MAX, |ms| i64::MAX - 1 - ms.max(0)),
            key: key.to_vec(),
        }
    }

    fn to_text(&self) -> String {
        let key = self.key.iter().map(|byte| format!("{byte:02x}"));
        format!("{:x}.{}", self.age, key.collect::<String>())
    }

    fn parse(text: &str) -> Option<Self> {
        let (age, key) = text.split_once('.')?;
        let bytes = key.as_bytes().chunks(2);
        let key = bytes.map(|pair| {
            let pair = std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        });
        Some(Self {
            age: i64::from_str_radix(age, 16).ok().filter(|age| *age >= 0)?,
            key: key.collect::<Option<_>>()?,
        })
    }
}

/// One page of the tasks in `store`.
pub async fn known_tasks(store: &Store, asked: &TasksAsked) -> Result<KnownTasks, TasksError> {
    let after = match &asked.after {
        Some(text) => Some(Place::parse(text).ok_or(TasksError::NoSuchPlace)?),
        None => None,
    };
    let search = Search {
        prefix: match &asked.instance {
            Some(instance) => task_prefix(instance),
            None => b"task/".to_vec(),
        },
        status: asked.status.clone(),
        limit: asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
        after,
    };
    let read = store.read(move |reader| Ok(search.run(reader)));
    Ok(read.await.map_err(Error::from)??)
}

struct Search {
    prefix: Vec<u8>,
    status: Option<String>,
    limit: usize,
    after: Option<Place>,
}

impl Search {
    /// Keys are hashes: the newest are found by reading all, in bounded memory, on the blocking pool. It
    /// takes as long as reading them at the start does.
    fn run(&self, reader: &Reader) -> Result<KnownTasks, Error> {
        let mut found: Vec<(Place, Row)> = Vec::new();
        let mut at: Option<Vec<u8>> = None;
        loop {
            let rows = reader.scan(&self.prefix, at.as_deref(), CHUNK_ROWS)?;
            for (key, value) in &rows {
                let row = Row::decode(key, value)?;
                let place = Place::of(&row.task, key);
                if self.wants(&row, &place) {
                    found.push((place, row));
                }
            }
            self.cut(&mut found);
            match rows.into_iter().next_back() {
                Some((key, _)) => at = Some(key),
                None => break,
            }
        }
        let has_more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().filter(|_| has_more);
        let next = last.map(|(place, _)| place.to_text());
        let tasks = found.into_iter().map(|(place, row)| shown(&place.key, row));
        Ok(KnownTasks {
            tasks: tasks.collect(),
            next,
        })
    }

    fn wants(&self, row: &Row, place: &Place) -> bool {
        let status = self.status.as_deref();
        status.is_none_or(|status| row.task.status.as_str() == status)
            && self.after.as_ref().is_none_or(|after| place > after)
    }

    /// Keeps the first of them, in order, and one more: it says that there are more.
    fn cut(&self, found: &mut Vec<(Place, Row)>) {
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.truncate(self.limit + 1);
    }
}

fn shown(key: &[u8], row: Row) -> KnownTask {
    let task = row.task;
    KnownTask {
        instance: instance_of(key),
        task_id: task.task_id.as_str().to_owned(),
        status: task.status.as_str().to_owned(),
        issue: task.issue,
        created_at: task.created_at,
        modified_at: task.modified_at,
        observed_at: row.observed_at,
        from: task.from,
        to: task.to,
        gone_since: row.absent_since,
        vanished: row.vanished,
    }
}

/// The second part of a key, as [`task_prefix`] wrote it.
fn instance_of(key: &[u8]) -> String {
    let part = key.split(|byte| *byte == b'/').nth(1).unwrap_or_default();
    let part = String::from_utf8_lossy(part);
    part.replace("%2F", "/").replace("%25", "%")
}

/// `GET /poller/tasks`
pub(crate) async fn show(
    State(status): State<Status>,
    Query(asked): Query<TasksAsked>,
) -> Response {
    let Some(store) = status.store() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the poller has not begun");
    };
    let _one_at_a_time = status.reading().await;
    match known_tasks(&store, &asked).await {
        Ok(page) => Json(page).into_response(),
        Err(error @ TasksError::NoSuchPlace) => {
            refused(StatusCode::BAD_REQUEST, &error.to_string())
        }
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({"error": why}))).into_response()
}

#[cfg(test)]
mod tests {
    use syncbell_event::Status as TaskStatus;
    use syncbell_store::Batch;

    use super::*;
    use crate::row::{IdHash, task_key};

    async fn store_of(instance: &str, tasks: impl Iterator<Item = SyncTask>) -> Store {
        let store = Store::memory();
        let mut batch = Batch::new();
        for task in tasks {
            let key = task_key(&task_prefix(instance), IdHash::of(task.task_id.as_str()));
            batch.put(key, Row::new(task, "f", Timestamp::UNIX_EPOCH).encode());
        }
        store.commit(batch).await.unwrap();
        store
    }

    fn task(n: i64, status: TaskStatus) -> SyncTask {
        let mut task = SyncTask::new(format!("rst-{n}"), status);
        // Two each are of one time, and one has none.
        task.created_at = (n > 0).then(|| Timestamp::from_second(1_000 + n / 2).unwrap());
        task
    }

    #[tokio::test]
    async fn pages_hold_every_task_once_the_newest_first() {
        let tasks = (0..95).map(|n| task(n, TaskStatus::Success));
        let store = store_of("cri-a/b%", tasks).await;
        let mut asked = TasksAsked {
            instance: Some("cri-a/b%".to_owned()),
            limit: Some(10),
            ..TasksAsked::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = known_tasks(&store, &asked).await.unwrap();
            assert!(page.tasks.len() <= 10);
            seen.extend(page.tasks);
            match page.next {
                Some(next) => asked.after = Some(next),
                None => break,
            }
        }
        assert!(seen.iter().all(|task| task.instance == "cri-a/b%"));
        let mut ids: Vec<&str> = seen.iter().map(|task| task.task_id.as_str()).collect();
        assert_eq!(*ids.last().unwrap(), "rst-0", "it has no time");
        let times: Vec<_> = seen.iter().filter_map(|task| task.created_at).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 95);
    }

    #[tokio::test]
    async fn only_what_was_asked_for_and_a_wrong_place_is_refused() {
        let status = |n| {
            if n % 2 == 0 {
                TaskStatus::Error
            } else {
                TaskStatus::Pending
            }
        };
        let store = store_of("cri-a", (1..=5).map(|n| task(n, status(n)))).await;
        let ids = async |asked: TasksAsked| {
            let page = known_tasks(&store, &asked).await.unwrap();
            let ids = page.tasks.into_iter().map(|task| task.task_id);
            ids.collect::<Vec<_>>()
        };
        let failed = TasksAsked {
            status: Some("ERROR".to_owned()),
            ..TasksAsked::default()
        };
        assert_eq!(ids(failed).await, ["rst-4", "rst-2"]);
        let others = TasksAsked {
            instance: Some("cri".to_owned()),
            ..TasksAsked::default()
        };
        assert_eq!(ids(others).await, [""; 0]);
        for wrong in ["", "x", "1", "-1.00", "1.0", "1.0g", "1.é"] {
            let asked = TasksAsked {
                after: Some(wrong.to_owned()),
                ..TasksAsked::default()
            };
            let page = known_tasks(&store, &asked).await;
            assert!(matches!(page, Err(TasksError::NoSuchPlace)), "{wrong}");
        }
    }
}
