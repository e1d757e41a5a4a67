//! Instances that are found by asking for them.

use std::time::Duration;

use serde_saphyr::Spanned;

use super::Checker;
use super::instances::is_region;
use crate::Matcher;
use crate::config::{Discovery, Instance};
use crate::problem::suggestion;
use crate::raw;

/// What is known of an instance before it is watched; beside them `tag.KEY`.
const LABELS: [&str; 5] = ["id", "name", "status", "specification", "resource_group_id"];

/// Instances come and go seldom.
const EVERY: Duration = Duration::from_mins(10);

impl Checker<'_> {
    /// One discovery for each region. `like` gives the instance that stands for a region, with the keys
    /// that stand beside `discover`.
    pub(super) fn discoveries(
        &mut self,
        raw: Spanned<raw::Discover>,
        mut like: impl FnMut(&mut Self, String, Spanned<String>) -> Option<Instance>,
    ) -> Vec<Discovery> {
        let at = raw.referenced;
        let raw = raw.value;
        let mut matchers = Vec::new();
        for text in raw.matchers.unwrap_or_default() {
            match matcher(&text.value) {
                Ok(matcher) => matchers.push(matcher),
                Err(message) => self.error(text.referenced, message),
            }
        }
        let every_at = raw.every.as_ref().map_or(at, |every| every.referenced);
        let every = self.duration("every", raw.every, EVERY);
        if every < Duration::from_secs(1) {
            self.error(every_at, "`every`: expected at least `1s`");
        }
        let regions = raw.regions.unwrap_or_default();
        if regions.is_empty() {
            self.error(at, "the key `regions` is missing here, or empty");
        }
        let mut found: Vec<Discovery> = Vec::new();
        for region in regions {
            if found.iter().any(|one| one.like.region == region.value) {
                let message = format!("the region {} stands here twice", region.value);
                self.error(region.referenced, message);
                continue;
            }
            let id = format!("instances-of-{}", region.value);
            let Some(like) = like(self, id, region) else {
                continue;
            };
            found.push(Discovery {
                like,
                matchers: matchers.clone(),
                every,
            });
        }
        found
    }

    /// A region id, or a problem.
    pub(super) fn region(&mut self, region: &Spanned<String>) -> Option<String> {
        if is_region(&region.value) {
            return Some(region.value.clone());
        }
        let message = "`region`: expected a region id such as `cn-shanghai`";
        self.error(region.referenced, message);
        None
    }
}

fn matcher(text: &str) -> Result<Matcher, String> {
    let matcher = super::label::condition(text)?;
    let label = matcher.label.as_str();
    let is_tag = label
        .strip_prefix("tag.")
        .is_some_and(|key| !key.is_empty());
    if is_tag || LABELS.contains(&label) {
        return Ok(matcher);
    }
    let hint = suggestion(label, &LABELS);
    Err(format!("unknown label `{label}`{hint}; tags are `tag.KEY`"))
}
