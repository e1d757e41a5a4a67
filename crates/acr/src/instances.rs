//! `ListInstance`: the instances of an account in a region.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::envelope::{Envelope, row};
use crate::error::Error;
use crate::fields::{numbers, text};
use crate::head::Head;

/// One page of the instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListInstance {
    /// Only with this name.
    pub name: Option<String>,
    /// Only in this status: `RUNNING`, …
    pub status: Option<String>,
    /// Only of this resource group.
    pub resource_group_id: Option<String>,
    /// From 1.
    pub page_no: Option<u32>,
    /// Rows a page; the vendor's default is 30.
    pub page_size: Option<u32>,
}

impl ListInstance {
    /// The parameters by their names on the wire; absent ones are left out.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let optional = [
            ("InstanceName", self.name.clone()),
            ("InstanceStatus", self.status.clone()),
            ("ResourceGroupId", self.resource_group_id.clone()),
            ("PageNo", numbers(self.page_no)),
            ("PageSize", numbers(self.page_size)),
        ];
        let given = optional.into_iter();
        given
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstancePage {
    /// What the vendor's support asks for.
    pub request_id: Option<String>,
    /// The page that was answered; compare it with the one asked for.
    pub page_no: Option<u64>,
    /// The size that the server used; it may cap what was asked for.
    pub page_size: Option<u64>,
    /// Instances in all, as a number or a string on the wire.
    pub total_count: Option<u64>,
    /// The rows that have an id, in the server's order.
    pub instances: Vec<InstanceInfo>,
    /// Rows in the answer, those without an id too.
    pub n_rows: usize,
    /// The answer's Date header: the server's clock.
    pub date: Option<Timestamp>,
}

/// One instance. Nothing but the id is sure to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceInfo {
    /// `cri-…`
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// `RUNNING`, `STARTING`, `STOPPED`, …
    pub status: Option<String>,
    /// `Enterprise_Basic`, …
    pub specification: Option<String>,
    /// Where it is.
    pub region_id: Option<String>,
    /// Its resource group.
    pub resource_group_id: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Reads an answer.
pub(crate) fn page(head: &Head, body: &[u8], now: Timestamp) -> Result<InstancePage, Error> {
    let envelope = Envelope::open(head, body, now)?;
    let rows = envelope.rows("Instances")?;
    let listed = envelope.listed();
    Ok(InstancePage {
        request_id: listed.request_id,
        page_no: listed.page_no,
        page_size: listed.page_size,
        total_count: listed.total_count,
        n_rows: rows.len(),
        instances: rows.into_iter().filter_map(instance).collect(),
        date: head.date,
    })
}

fn instance(raw: &RawValue) -> Option<InstanceInfo> {
    let fields = row(raw)?;
    Some(InstanceInfo {
        id: text(&fields, "InstanceId")?,
        name: text(&fields, "InstanceName"),
        status: text(&fields, "InstanceStatus"),
        specification: text(&fields, "InstanceSpecification"),
        region_id: text(&fields, "RegionId"),
        resource_group_id: text(&fields, "ResourceGroupId"),
        tags: tags(&fields),
    })
}

/// `Tags: [{TagKey, TagValue}]`, as the vendor's Go SDK (cr-20181201/v2) declares them; other products
/// say `Key` and `Value`. A tag without a key is none, one without a value has an empty one.
fn tags(fields: &Map<String, Value>) -> BTreeMap<String, String> {
    let list = fields.get("Tags").and_then(Value::as_array);
    let tag = |tag: &Value| {
        let tag = tag.as_object()?;
        let key = text(tag, "TagKey").or_else(|| text(tag, "Key"))?;
        let value = text(tag, "TagValue").or_else(|| text(tag, "Value"));
        Some((key, value.unwrap_or_default()))
    };
    list.into_iter().flatten().filter_map(tag).collect()
}
