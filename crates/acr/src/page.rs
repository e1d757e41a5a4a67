//! One page of the list. Its rows stay the bytes that they came as until somebody asks for the task:
//! most rows of most pages are those of the last look, and telling that needs no decoding.
//!
//! In: a successful answer's body. Out: rows with their id and their text, tasks on demand. Must never
//! happen: a malformed row that takes its neighbours with it.

use std::fmt;
use std::ops::Range;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use syncbell_event::SyncTask;

use crate::decode::{self, Refused};
use crate::error::Error;
use crate::fault::{Fault, malformed, not_json};
use crate::fields::{is_failure, string, whole};
use crate::head::Head;

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What the vendor's support asks for.
    pub request_id: Option<String>,
    /// `success`
    pub code: Option<String>,
    /// The page that was answered; compare it with the one asked for.
    pub page_no: Option<u64>,
    /// The size that the server used; it may cap what was asked for.
    pub page_size: Option<u64>,
    /// Tasks in all, as a number or a string on the wire.
    pub total_count: Option<u64>,
    /// The answer's Date header: the server's clock.
    pub date: Option<Timestamp>,
    body: String,
    rows: Vec<Range<usize>>,
}

/// A row of a page as it came.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    index: usize,
    text: &'a str,
    id: Option<&'a str>,
    created_ms: Option<i64>,
}

/// Only what tells rows apart and orders them. Reading ends where both are found: the vendor writes
/// them among a row's first fields.
#[derive(Default)]
struct Glance<'a> {
    id: Option<&'a str>,
    created_ms: Option<i64>,
    is_sound: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Field {
    #[serde(rename = "SyncTaskId")]
    Id,
    #[serde(rename = "CreateTime")]
    Created,
    #[serde(other)]
    Other,
}

impl<'a> Glance<'a> {
    /// Nothing for an id with escapes in it, a time that is a text, a key that stands there twice
    /// before both are found: decoding knows them all.
    fn at(text: &'a str) -> Self {
        let mut glance = Self::default();
        let mut json = serde_json::Deserializer::from_str(text);
        // Left in the middle of the row it says that the row does not end there.
        let _unread = json.deserialize_map(&mut glance);
        let is_usable = glance.is_sound && glance.id.is_some_and(|id| !id.trim().is_empty());
        if is_usable { glance } else { Self::default() }
    }
}

impl<'de> Visitor<'de> for &mut Glance<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key()? {
            match field {
                Field::Id if self.id.is_none() => self.id = Some(map.next_value()?),
                Field::Created if self.created_ms.is_none() => {
                    self.created_ms = map.next_value()?;
                }
                Field::Id | Field::Created => return Ok(()),
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
            if self.id.is_some() && self.created_ms.is_some() {
                break;
            }
        }
        self.is_sound = true;
        Ok(())
    }
}

impl Page {
    /// Rows in the answer, those that are no tasks too.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// The rows, in the server's order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().enumerate().map(|(index, range)| {
            let text = &self.body[range.clone()];
            let Glance { id, created_ms, .. } = Glance::at(text);
            Row {
                index,
                text,
                id,
                created_ms,
            }
        })
    }

    /// All rows decoded: the tasks, and the rows that are none.
    pub fn tasks(&self) -> (Vec<SyncTask>, Vec<Refused>) {
        let (mut tasks, mut refused) = (Vec::with_capacity(self.n_rows()), Vec::new());
        for row in self.rows() {
            match row.task() {
                Ok(task) => tasks.push(task),
                Err(why) => refused.push(why),
            }
        }
        (tasks, refused)
    }
}

impl<'a> Row<'a> {
    /// Its `SyncTaskId`, where it can be seen without decoding; `None` says nothing.
    pub fn id(&self) -> Option<&'a str> {
        self.id
    }

    /// Its `CreateTime` in milliseconds, where it can be seen without decoding, as [`Row::id`].
    pub fn created_ms(&self) -> Option<i64> {
        self.created_ms
    }

    /// The JSON as the server wrote it. Equal texts are equal tasks; the reverse need not hold.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Decodes it.
    pub fn task(&self) -> Result<SyncTask, Refused> {
        decode::raw(self.index, self.text)
    }
}

/// Reads an answer. `now` tells a wrong clock from a wrong date.
pub(crate) fn page(head: &Head, body: Vec<u8>, now: Timestamp) -> Result<Page, Error> {
    let ok = (200..300).contains(&head.status);
    let body = match String::from_utf8(body) {
        Ok(body) => body,
        Err(error) => return Err(not_json(head, error.as_bytes(), now)),
    };
    let Some(Parts { fields, rows }) = take_apart(&body) else {
        return Err(not_json(head, body.as_bytes(), now));
    };
    if !ok || is_failure(&fields) {
        return Err(Fault::of_json(&fields).classify(head, now));
    }
    let rows = match rows {
        Rows::List(rows) => rows,
        Rows::None { is_null: true } => Vec::new(),
        Rows::None { is_null: false } if whole(&fields, "TotalCount") == Some(0) => Vec::new(),
        Rows::None { .. } | Rows::Unreadable => {
            return Err(malformed(head, "without a list of SyncTasks"));
        }
    };
    Ok(Page {
        request_id: string(&fields, "RequestId"),
        code: string(&fields, "Code"),
        page_no: whole(&fields, "PageNo"),
        page_size: whole(&fields, "PageSize"),
        total_count: whole(&fields, "TotalCount"),
        date: head.date,
        body,
        rows,
    })
}

/// The fields of an answer, and where the rows stand in its text.
struct Parts {
    fields: Map<String, Value>,
    rows: Rows,
}

/// What stands under `SyncTasks`.
enum Rows {
    /// Nothing, or null, as the flag says.
    None { is_null: bool },
    /// These.
    List(Vec<Range<usize>>),
    /// Something that is no list, or one that cannot be taken apart.
    Unreadable,
}

/// Takes the text of an answer apart. `None` where it is no JSON object.
///
/// The rows stay text until each is decoded: one that no parser takes (1e999, half a surrogate pair,
/// a nesting without end) must not take the others with it.
fn take_apart(text: &str) -> Option<Parts> {
    let Outer { fields, rows } = serde_json::from_str(text).ok()?;
    let place = |row: &RawValue| {
        let at = row.get().as_ptr().addr() - text.as_ptr().addr();
        at..at + row.get().len()
    };
    let rows = match rows {
        None => Rows::None { is_null: false },
        Some(Listed::Null) => Rows::None { is_null: true },
        Some(Listed::Rows(rows)) => Rows::List(rows.into_iter().map(place).collect()),
        Some(Listed::Other) => Rows::Unreadable,
    };
    Some(Parts { fields, rows })
}

struct Outer<'a> {
    fields: Map<String, Value>,
    rows: Option<Listed<'a>>,
}

enum Listed<'a> {
    Null,
    Rows(Vec<&'a RawValue>),
    Other,
}

impl<'de> Deserialize<'de> for Outer<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Outer<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outer<'de>, A::Error> {
                let (mut fields, mut rows) = (Map::new(), None);
                while let Some(name) = map.next_key::<String>()? {
                    if name == "SyncTasks" {
                        rows = Some(map.next_value()?);
                        continue;
                    }
                    let raw: &RawValue = map.next_value()?;
                    if let Ok(value) = serde_json::from_str(raw.get()) {
                        fields.insert(name, value);
                    }
                }
                Ok(Outer { fields, rows })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl<'de> Deserialize<'de> for Listed<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Listed<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, or anything at all")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Listed::Null)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = list.next_element()? {
                    rows.push(row);
                }
                Ok(Listed::Rows(rows))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Listed::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Listed::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Listed::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Listed::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Listed::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Listed::Other)
            }
        }

        deserializer.deserialize_any(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(row: &str) -> (Option<&str>, Option<i64>) {
        let glance = Glance::at(row);
        (glance.id, glance.created_ms)
    }

    #[test]
    fn a_glance_sees_the_id_and_the_time_wherever_they_stand() {
        for row in [
            r#"{"SyncTaskId": "a", "CreateTime": 7, "TaskStatus": "ERROR"}"#,
            r#"{"ImageTo": {"SyncTaskId": "b", "Tags": [1e999]}, "CreateTime": 7, "SyncTaskId": "a"}"#,
        ] {
            assert_eq!(seen(row), (Some("a"), Some(7)), "{row}");
        }
        assert_eq!(seen(r#"{"SyncTaskId": "a"}"#), (Some("a"), None));
        assert_eq!(
            seen(r#"{"CreateTime": null, "SyncTaskId": "a"}"#),
            (Some("a"), None)
        );
    }

    #[test]
    fn a_glance_says_nothing_where_only_decoding_can_tell() {
        for row in [
            r#"{"SyncTaskId": "\u0061", "CreateTime": 7}"#,
            r#"{"SyncTaskId": " ", "CreateTime": 7}"#,
            r#"{"SyncTaskId": "a", "SyncTaskId": "b", "CreateTime": 7}"#,
            r#"{"CreateTime": 7, "CreateTime": 8, "SyncTaskId": "a"}"#,
            r#"{"SyncTaskId": "a", "CreateTime": "7"}"#,
            r#"{"SyncTaskId": 7, "CreateTime": 7}"#,
            r#"{"CreateTime": 7}"#,
            "[]",
            "null",
        ] {
            assert_eq!(seen(row), (None, None), "{row}");
        }
    }
}
