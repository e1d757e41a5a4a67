//! A rule as `ListRepoSyncRule` tells it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::task::{DEMO_INSTANCE, DEMO_REGION, DEMO_TARGET_INSTANCE, DEMO_TARGET_REGION};

/// A rule to be added. All fields are public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewRule {
    /// `SyncRuleId`; one that is there already is replaced.
    pub id: String,
    /// `SyncRuleName`.
    pub name: String,
    /// `SyncScope`: INSTANCE, NAMESPACE or REPO.
    pub scope: String,
    /// `SyncTrigger`: PASSIVE or INITIATIVE.
    pub trigger: String,
    /// `SyncDirection`: FROM or TO.
    pub direction: String,
    /// `TagFilter`.
    pub tag_filter: Option<String>,
    /// `NamespaceNameFilter`.
    pub namespace_filter: Option<String>,
    /// `RepoNameFilter`.
    pub repo_filter: Option<String>,
    /// `LocalRegionId`, `LocalInstanceId`, `LocalNamespaceName`, `LocalRepoName`. This instance lists it.
    pub local: RuleEnd,
    /// `TargetRegionId` and so on.
    pub target: RuleEnd,
    /// `CrossUser`.
    pub cross_user: bool,
    /// `LinkId`.
    pub link_id: Option<String>,
    /// `Priority`.
    pub priority: Option<i64>,
}

/// One end of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleEnd {
    /// `…RegionId`.
    pub region_id: Option<String>,
    /// `…InstanceId`.
    pub instance_id: Option<String>,
    /// `…NamespaceName`.
    pub namespace: Option<String>,
    /// `…RepoName`.
    pub repo: Option<String>,
}

impl Default for NewRule {
    fn default() -> Self {
        Self {
            id: "crsr-demo".to_owned(),
            name: "demo".to_owned(),
            scope: "NAMESPACE".to_owned(),
            trigger: "PASSIVE".to_owned(),
            direction: "FROM".to_owned(),
            tag_filter: Some(".*".to_owned()),
            namespace_filter: None,
            repo_filter: Some(".*".to_owned()),
            local: RuleEnd {
                region_id: Some(DEMO_REGION.to_owned()),
                instance_id: Some(DEMO_INSTANCE.to_owned()),
                ..RuleEnd::default()
            },
            target: RuleEnd {
                region_id: Some(DEMO_TARGET_REGION.to_owned()),
                instance_id: Some(DEMO_TARGET_INSTANCE.to_owned()),
                ..RuleEnd::default()
            },
            cross_user: false,
            link_id: None,
            priority: None,
        }
    }
}

impl NewRule {
    /// A rule of the demo instance that copies a whole namespace to the other one.
    pub fn of(id: &str, name: &str, namespace: &str) -> Self {
        let mut rule = Self {
            id: id.to_owned(),
            name: name.to_owned(),
            ..Self::default()
        };
        rule.local.namespace = Some(namespace.to_owned());
        rule.target.namespace = Some(namespace.to_owned());
        rule
    }

    /// Listed by this instance.
    #[must_use]
    pub fn of_instance(mut self, id: &str, region: &str) -> Self {
        self.local.instance_id = Some(id.to_owned());
        self.local.region_id = Some(region.to_owned());
        self
    }
}

/// A rule in the world.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) new: NewRule,
    created_ms: i64,
}

impl Known {
    pub(crate) fn new(new: NewRule, server_now: Timestamp) -> Self {
        let created_ms = server_now.as_millisecond();
        Self { new, created_ms }
    }

    /// The row in the vendor's JSON.
    pub(crate) fn row(&self) -> Value {
        let new = &self.new;
        let mut row = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                row.insert(name.to_owned(), value);
            }
        };
        put("SyncRuleId", json!(new.id));
        put("SyncRuleName", json!(new.name));
        put("SyncScope", json!(new.scope));
        put("SyncTrigger", json!(new.trigger));
        put("SyncDirection", json!(new.direction));
        put("TagFilter", json!(new.tag_filter));
        put("NamespaceNameFilter", json!(new.namespace_filter));
        put("RepoNameFilter", json!(new.repo_filter));
        put("LocalRegionId", json!(new.local.region_id));
        put("LocalInstanceId", json!(new.local.instance_id));
        put("LocalNamespaceName", json!(new.local.namespace));
        put("LocalRepoName", json!(new.local.repo));
        put("TargetRegionId", json!(new.target.region_id));
        put("TargetInstanceId", json!(new.target.instance_id));
        put("TargetNamespaceName", json!(new.target.namespace));
        put("TargetRepoName", json!(new.target.repo));
        put("CrossUser", json!(new.cross_user));
        put("LinkId", json!(new.link_id));
        put("Priority", json!(new.priority));
        put("CreateTime", json!(self.created_ms));
        put("ModifiedTime", json!(self.created_ms));
        Value::Object(row)
    }
}
