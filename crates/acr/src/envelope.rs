//! The envelope of the smaller answers: common fields, and lists of rows that stay raw.
//!
//! In: head and body. Out: fields and rows, or what the refusal means. Must never happen: one row that
//! no parser takes (1e999, half a surrogate pair, a nesting without end) takes the others with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::fault::{Fault, malformed, not_json};
use crate::fields::{is_failure, string, whole};
use crate::head::Head;

/// A right answer, taken apart.
pub(crate) struct Envelope<'a> {
    head: &'a Head,
    raw: BTreeMap<String, &'a RawValue>,
    /// Whatever can be parsed and is no list.
    pub(crate) fields: Map<String, Value>,
}

/// What every list says about itself.
pub(crate) struct Listed {
    pub(crate) request_id: Option<String>,
    pub(crate) page_no: Option<u64>,
    pub(crate) page_size: Option<u64>,
    pub(crate) total_count: Option<u64>,
}

impl<'a> Envelope<'a> {
    /// Takes an answer apart; one that is not a success is the error. `now` tells a wrong clock from a
    /// wrong date.
    pub(crate) fn open(head: &'a Head, body: &'a [u8], now: Timestamp) -> Result<Self, Error> {
        let Ok(raw) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(body) else {
            return Err(not_json(head, body, now));
        };
        let fields = raw
            .iter()
            .filter(|(_, raw)| !raw.get().starts_with('['))
            .filter_map(|(name, raw)| Some((name.clone(), serde_json::from_str(raw.get()).ok()?)))
            .collect();
        if !(200..300).contains(&head.status) || is_failure(&fields) {
            return Err(Fault::of_json(&fields).classify(head, now));
        }
        Ok(Self { head, raw, fields })
    }

    /// The rows of the list `name`, which may only be missing where there are none.
    pub(crate) fn rows(&self, name: &str) -> Result<Vec<&'a RawValue>, Error> {
        let without = || malformed(self.head, &format!("without a list of {name}"));
        match self.raw.get(name).map(|raw| raw.get()) {
            Some("null") => Ok(Vec::new()),
            Some(list) if list.starts_with('[') => {
                serde_json::from_str(list).map_err(|_| without())
            }
            None if whole(&self.fields, "TotalCount") == Some(0) => Ok(Vec::new()),
            _ => Err(without()),
        }
    }

    /// The rows of the list `name`; none where it is missing or is no list.
    pub(crate) fn rows_if_any(&self, name: &str) -> Vec<&'a RawValue> {
        self.rows(name).unwrap_or_default()
    }

    /// All of the answer but `names`, as the text of one object.
    pub(crate) fn without(&self, names: &[&str]) -> Result<String, Error> {
        let rest: BTreeMap<_, _> = self
            .raw
            .iter()
            .filter(|(name, _)| !names.contains(&name.as_str()))
            .collect();
        serde_json::to_string(&rest).map_err(|_| malformed(self.head, "that cannot be taken apart"))
    }

    pub(crate) fn listed(&self) -> Listed {
        Listed {
            request_id: string(&self.fields, "RequestId"),
            page_no: whole(&self.fields, "PageNo"),
            page_size: whole(&self.fields, "PageSize"),
            total_count: whole(&self.fields, "TotalCount"),
        }
    }
}

/// The fields of a row that can be parsed; `None` if it is no object.
pub(crate) fn row(raw: &RawValue) -> Option<Map<String, Value>> {
    let raw = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get()).ok()?;
    let fields = raw
        .into_iter()
        .filter_map(|(name, raw)| Some((name, serde_json::from_str(raw.get()).ok()?)));
    Some(fields.collect())
}
