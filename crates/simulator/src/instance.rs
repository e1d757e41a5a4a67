//! An instance as `ListInstance` tells it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::server::Instance;
use crate::task::{DEMO_INSTANCE, DEMO_REGION};

/// An instance to be added. All fields are public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewInstance {
    /// `InstanceId`; one that is there already is replaced.
    pub id: String,
    /// `RegionId`.
    pub region: String,
    /// `InstanceName`.
    pub name: Option<String>,
    /// `InstanceStatus`: RUNNING, STOPPED, DELETING, … whatever is written here.
    pub status: String,
    /// `InstanceSpecification`.
    pub specification: String,
    /// `InstanceIssue`.
    pub issue: Option<String>,
    /// `ResourceGroupId`.
    pub resource_group: Option<String>,
    /// `Tags`.
    pub tags: BTreeMap<String, String>,
}

impl Default for NewInstance {
    fn default() -> Self {
        Self {
            id: DEMO_INSTANCE.to_owned(),
            region: DEMO_REGION.to_owned(),
            name: None,
            status: "RUNNING".to_owned(),
            specification: "Enterprise_Advanced".to_owned(),
            issue: None,
            resource_group: None,
            tags: BTreeMap::new(),
        }
    }
}

impl NewInstance {
    /// A running instance.
    pub fn new(id: &str, region: &str) -> Self {
        Self {
            id: id.to_owned(),
            region: region.to_owned(),
            ..Self::default()
        }
    }

    /// With this `InstanceName`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// With this `InstanceStatus`.
    #[must_use]
    pub fn status(mut self, status: &str) -> Self {
        status.clone_into(&mut self.status);
        self
    }

    /// In this resource group.
    #[must_use]
    pub fn resource_group(mut self, id: &str) -> Self {
        self.resource_group = Some(id.to_owned());
        self
    }

    /// With one more tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }
}

impl From<Instance> for NewInstance {
    fn from(instance: Instance) -> Self {
        Self::new(&instance.id, &instance.region)
    }
}

/// An instance in the world.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) new: NewInstance,
    created_ms: i64,
    modified_ms: i64,
}

impl Known {
    pub(crate) fn new(new: NewInstance, server_now: Timestamp) -> Self {
        let now_ms = server_now.as_millisecond();
        Self {
            new,
            created_ms: now_ms,
            modified_ms: now_ms,
        }
    }

    /// Another instance of the same id takes its place.
    pub(crate) fn replace(&mut self, new: NewInstance, server_now: Timestamp) {
        self.new = new;
        self.modified_ms = server_now.as_millisecond();
    }

    /// The row in the vendor's JSON: its times are texts.
    pub(crate) fn row(&self) -> Value {
        let new = &self.new;
        let name = new.name.as_deref().unwrap_or(&new.id);
        let tags = new.tags.iter();
        let tags: Vec<_> = tags.map(|(k, v)| json!({"Key": k, "Value": v})).collect();
        let mut row = Map::new();
        let mut put = |name: &str, value: Value| row.insert(name.to_owned(), value);
        put("InstanceId", json!(new.id));
        put("InstanceName", json!(name));
        put("InstanceStatus", json!(new.status));
        put("InstanceSpecification", json!(new.specification));
        put("RegionId", json!(new.region));
        put("CreateTime", json!(self.created_ms.to_string()));
        put("ModifiedTime", json!(self.modified_ms.to_string()));
        put("Tags", json!(tags));
        if let Some(issue) = &new.issue {
            put("InstanceIssue", json!(issue));
        }
        if let Some(group) = &new.resource_group {
            put("ResourceGroupId", json!(group));
        }
        Value::Object(row)
    }
}
